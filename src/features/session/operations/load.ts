import { operation, type Operation } from '../../../store/store.ts'
import type { StoredText } from './user-index.ts'

/**
 * Reads sessions and revoke-before values with one command. The keys share a slot. Replies with the
 * string under each key, or null. A value of another type counts as absent.
 */
export const loadSessions: Operation<(string | null)[]> = operation({
  name: 'session.load',
  command: 'MGET',
  memory: (database, keys) =>
    keys.map((key) => {
      const value = database.get<StoredText | string>(key)
      return typeof value === 'object' ? value.text : (value ?? null)
    }),
})

/** Replies with Redis's name for the type of a key's value: `none` if the key is absent. */
export const valueType: Operation<string> = operation({
  name: 'session.valueType',
  command: 'TYPE',
  memory: (database, [session]) => (database.get(session!) === undefined ? 'none' : 'string'),
})
