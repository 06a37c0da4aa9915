import { operation, type Operation } from '../../../store/store.ts'
import { formatHeader, HEADER_LENGTH, parseHeader } from '../record.ts'
import { addToIndex, publishChange, removeFromIndex, type StoredText } from './user-index.ts'
import lua from './touch.lua'

/** Renews a session's time to live within its absolute one. See touch.lua. */
export const touchSession: Operation<number> = operation({
  name: 'session.touch',
  lua,
  memory(database, [session, index], [ttl, digest, channel], now) {
    const stored = database.get<StoredText>(session!)
    const header = stored && parseHeader(stored.text)
    if (!header || header.isReplaced) return 0
    const { version, created, endsAt, isOwned } = header
    const life = endsAt > 0 ? Math.min(Number(ttl), endsAt - now) : Number(ttl)
    if (life <= 0) {
      database.delete(session!)
      removeFromIndex(database, index!, [String(digest)], now)
      return 0
    }
    if (stored.expiresAt - now > life) publishChange(database, channel, session!)
    const text =
      formatHeader(stored.text.slice(0, 2), version, created, endsAt, now) +
      stored.text.slice(HEADER_LENGTH)
    database.set(session!, { text, expiresAt: now + life } satisfies StoredText, life)
    if (isOwned) addToIndex(database, index!, String(digest), life, now)
    return life
  },
})
