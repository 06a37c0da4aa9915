/** What counters ask of the store. Keys, arguments and replies: see the scripts. */
import { operation, type Operation } from '../../../store/store.ts'
import whole from '../../../store/whole.lua'
import addLua from './add.lua'

type Counts = Map<string, number>

const clamp = (count: number): number =>
  Math.max(-Number.MAX_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, count))

/** Adds to the counters of one item, once for each batch, and reads them. */
export const addCounts: Operation<(string | number)[]> = operation({
  name: 'counters.add',
  lua: `${whole}\n${addLua}`,
  memory(database, [key, batchKey], [batch, ttl, memory, most, ...increments]) {
    const counts: Counts = database.get(key!) ?? new Map()
    let refused = 0
    if (String(batch) !== '0' && database.get(batchKey!) !== String(batch)) {
      for (let i = 0; i < increments.length; i += 2) {
        const field = String(increments[i])
        if (!counts.has(field) && counts.size >= Number(most)) refused++
        else counts.set(field, clamp((counts.get(field) ?? 0) + Number(increments[i + 1])))
      }
      if (counts.size > 0) database.set(key!, counts, Number(ttl))
      database.set(batchKey!, String(batch), Number(memory))
    }
    return [refused, ...[...counts].flatMap(([field, count]) => [field, String(count)])]
  },
})
