import { operation, type Operation } from '../../../store/store.ts'
import { parseHeader } from '../record.ts'
import { entriesOf, removeFromIndex, revokeBeforeOf, type StoredText } from './user-index.ts'
import lua from './sweep.lua'

/** Deletes one batch of a user's revoked sessions. See sweep.lua. */
export const sweepRevoked: Operation<number[]> = operation({
  name: 'session.sweep',
  lua,
  memory(database, [index, revokeBefore, prefix], [offset, count], now) {
    const { at, exempt } = revokeBeforeOf(database, revokeBefore!)
    const batch = entriesOf(database, index!).slice(Number(offset), Number(offset) + Number(count))
    const gone: string[] = []
    let deleted = 0
    for (const [digest] of batch) {
      const key = prefix! + digest
      const stored = database.get<StoredText>(key)
      const isRevoked =
        stored && digest !== exempt && (parseHeader(stored.text)?.created ?? 0) <= at
      if (isRevoked && database.delete(key)) deleted++
      if (!stored || isRevoked) gone.push(digest)
    }
    removeFromIndex(database, index!, gone, now)
    return [batch.length, deleted, batch.length - gone.length]
  },
})
