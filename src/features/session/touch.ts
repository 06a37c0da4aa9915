import { operation, type Operation } from '../../store/store.ts'
import { enter, leave, type Kept } from './members.ts'
import { HEADER, headed, headerOf } from './record.ts'
import lua from './touch.lua'

/** Renews a session's time to live within its absolute one. Keys, arguments and reply: see touch.lua. */
export const touch: Operation<number> = operation({
  name: 'session.touch',
  lua,
  memory(database, [session, index], [ttl, member], now) {
    const kept = database.get<Kept>(session!)
    const header = kept && headerOf(kept.blob)
    if (!header) return 0
    const { version, created, until } = header
    const life = until > 0 ? Math.min(Number(ttl), until - now) : Number(ttl)
    if (life <= 0) {
      database.delete(session!)
      leave(database, index!, [String(member)], now)
      return 0
    }
    const blob =
      headed(kept.blob.slice(0, 2), version, created, until, now) + kept.blob.slice(HEADER)
    database.set(session!, { blob, until: now + life } satisfies Kept, life)
    if (header.owned) enter(database, index!, String(member), life, now)
    return life
  },
})
