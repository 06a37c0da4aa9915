/** What several collections ask of the store. */
import { operation, type Operation } from '../../store/store.ts'

/** Removes a key. */
export const removeKey: Operation<number> = operation({
  name: 'collections.remove',
  lua: `return redis.call('UNLINK', KEYS[1])`,
  memory: (database, [key]) => (database.delete(key!) ? 1 : 0),
})
