import { operation, type Operation } from '../../../store/store.ts'
import { formatHeader, HEADER_LENGTH, parseHeader } from '../record.ts'
import { removeFromIndex, type StoredText } from './user-index.ts'
import lua from './destroy.lua'

/** Ends a session, at once or after a grace period. See destroy.lua. */
export const destroySession: Operation<number> = operation({
  name: 'session.destroy',
  refuseLate: true,
  lua,
  memory(database, [session, index], [digest, grace], now) {
    removeFromIndex(database, index!, [String(digest)], now)
    if (Number(grace) <= 0) return database.delete(session!) ? 1 : 0
    const stored = database.get<StoredText>(session!)
    const header = stored && parseHeader(stored.text)
    if (!header) return 0
    const graceEnds = now + Number(grace)
    const { version, created, endsAt, touched } = header
    const sooner = endsAt === 0 || endsAt > graceEnds ? graceEnds : endsAt
    const text =
      formatHeader(stored.text.slice(0, 2), version, created, sooner, touched) +
      stored.text.slice(HEADER_LENGTH)
    const expiresAt = Math.min(stored.expiresAt, graceEnds)
    database.set(session!, { text, expiresAt } satisfies StoredText, expiresAt - now)
    return 1
  },
})
