/** Limits of single subjects, as they are stored. */
import { operation, type Operation } from '../../../store/store.ts'
import getLua from './get-overrides.lua'
import setLua from './set-overrides.lua'

/** The overrides of one subject in the in-process engine. */
export interface StoredOverrides {
  /** Policy name -> limit, as a string. */
  limits: ReadonlyMap<string, string>
  /** The time to live in ms that each use renews. 0: none. */
  renewal: number
  /** When they end, in ms since the epoch. */
  until: number
}

/**
 * Replaces the overrides of a subject. Key: the hash. Arguments: time to live (ms), the time to live
 * that each use renews ('0': none), then name, limit, and so on. Replies how many were set.
 */
export const setOverrides: Operation<number> = operation({
  name: 'setOverrides',
  lua: setLua,
  memory(database, [key], args, now) {
    const [ttl, renewal, ...rest] = args.map(String)
    const limits = new Map<string, string>()
    let count = 0
    for (; count * 2 + 1 < rest.length; count++) limits.set(rest[count * 2]!, rest[count * 2 + 1]!)
    database.delete(key!)
    if (count > 0 && Number(ttl) > 0) {
      const stored: StoredOverrides = {
        limits,
        renewal: Number(renewal),
        until: now + Number(ttl),
      }
      database.set(key!, stored, Number(ttl))
    }
    return count
  },
})

/** Reads the overrides of a subject. Key: the hash. Replies the time left in ms ('-2': there are none), then name, limit, and so on. */
export const getOverrides: Operation<string[]> = operation({
  name: 'getOverrides',
  lua: getLua,
  memory(database, [key], _args, now) {
    const stored = database.get<StoredOverrides>(key!)
    if (!stored) return ['-2']
    return [String(stored.until - now), ...[...stored.limits].flat()]
  },
})
