import { operation, type Operation, type OperationReply } from '../../../store/store.ts'
import { formatHeader, nextVersion, parseHeader } from '../record.ts'
import { publishChange, removeFromIndex, type StoredText } from './user-index.ts'
import lua from './replace.lua'

/**
 * Ends a session that another one takes the place of: deletes it, or leaves a record that cannot be
 * changed for a while. Compare-and-set. See replace.lua.
 */
export const replaceSession: Operation<OperationReply[]> = operation<OperationReply[]>({
  name: 'session.replace',
  lua,
  memory(database, [session, index], [base, digest, kind, payload, life, channel], now) {
    const stored = database.get<StoredText>(session!)
    const header = stored && parseHeader(stored.text)
    if (!header) return ['gone']
    if (header.isReplaced || header.version !== base) return ['conflict', stored.text]
    removeFromIndex(database, index!, [String(digest)], now)
    publishChange(database, channel, session!)
    const expiresAt = Math.min(stored.expiresAt, now + Number(life))
    if (payload === '' || expiresAt <= now) {
      database.delete(session!)
      return ['replaced']
    }
    const { created, endsAt, touched } = header
    const times = formatHeader(String(kind), nextVersion(header.version), created, endsAt, touched)
    database.set(
      session!,
      { text: times + String(payload), expiresAt } satisfies StoredText,
      expiresAt - now,
    )
    return ['replaced']
  },
})
