import { operation, type Operation } from '../../store/store.ts'
import type { Kept } from './members.ts'

/**
 * Reads sessions and not-befores: one command, no write. Keys of one slot. Replies the text under
 * each key, or null; a value of another type counts as none.
 */
export const load: Operation<(string | null)[]> = operation({
  name: 'session.load',
  command: 'MGET',
  memory: (database, keys) =>
    keys.map((key) => {
      const value = database.get<Kept | string>(key)
      return typeof value === 'object' ? value.blob : (value ?? null)
    }),
})
