import { operation, type Operation } from '../../store/store.ts'
import { leave, type Kept } from './members.ts'
import { HEADER, headed, headerOf } from './record.ts'
import lua from './destroy.lua'

/** Ends a session, at once or after a grace. Keys, arguments and reply: see destroy.lua. */
export const destroy: Operation<number> = operation({
  name: 'session.destroy',
  refuseLate: true,
  lua,
  memory(database, [session, index], [member, grace], now) {
    leave(database, index!, [String(member)], now)
    if (Number(grace) <= 0) return database.delete(session!) ? 1 : 0
    const kept = database.get<Kept>(session!)
    const header = kept && headerOf(kept.blob)
    if (!header) return 0
    const end = now + Number(grace)
    const { version, created, until, touched } = header
    const sooner = until === 0 || until > end ? end : until
    const blob =
      headed(kept.blob.slice(0, 2), version, created, sooner, touched) + kept.blob.slice(HEADER)
    const last = Math.min(kept.until, end)
    database.set(session!, { blob, until: last } satisfies Kept, last - now)
    return 1
  },
})
