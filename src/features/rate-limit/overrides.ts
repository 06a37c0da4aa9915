import { operation, type Operation } from '../../store/store.ts'
import readLua from './overrides-read.lua'
import lua from './overrides.lua'

/** A subject's own limits, as the in-process engine keeps them. */
export interface StoredOverrides {
  /** Policy name -> limit, as text. */
  fields: ReadonlyMap<string, string>
  /** The time to live in ms that each use renews; 0: none. */
  renewal: number
  /** When they end. */
  until: number
}

/**
 * Replaces a subject's own limits, which `take` reads. Key: the hash. Arguments: time to live (ms),
 * the time to live that each use renews ('0': none), then name, limit, ... Replies how many were set.
 */
export const setOverrides: Operation<number> = operation({
  name: 'setLimits',
  lua,
  memory(database, [key], args, now) {
    const [ttl, renewal, ...rest] = args.map(String)
    const fields = new Map<string, string>()
    let count = 0
    for (; count * 2 + 1 < rest.length; count++) fields.set(rest[count * 2]!, rest[count * 2 + 1]!)
    database.delete(key!)
    if (count > 0 && Number(ttl) > 0) {
      const limits: StoredOverrides = { fields, renewal: Number(renewal), until: now + Number(ttl) }
      database.set(key!, limits, Number(ttl))
    }
    return count
  },
})

/** Reads a subject's own limits. Key: the hash. Replies time left in ms ('-2': none), name, limit, ... */
export const getOverrides: Operation<string[]> = operation({
  name: 'getLimits',
  lua: readLua,
  memory(database, [key], _args, now) {
    const limits = database.get<StoredOverrides>(key!)
    if (!limits) return ['-2']
    return [String(limits.until - now), ...[...limits.fields].flat()]
  },
})
