/** Two requests have changed one session: a three-way merge of its top-level keys. */
import type { SessionSerializer } from './serializer.ts'

export type Data = Record<string, unknown>

/** What is done when two requests have changed one session. */
export type OnConflict =
  /** Keep both changes; where both changed the same key, the later request's stands. */
  | 'merge'
  /** The later request's session stands as a whole. */
  | 'last-write-wins'
  /** The later request fails with TP_SESSION_CONFLICT (409). */
  | 'reject'
  /** Work it out: what the request had read, what it wants, and what is stored now. */
  | ((base: Data, mine: Data, theirs: Data) => Data)

/** What to store, given all three. */
export function merged(base: Data, mine: Data, theirs: Data, serializer: SessionSerializer): Data {
  const changed = (key: string): boolean =>
    textOf(base, key, serializer) !== textOf(mine, key, serializer)
  const result: Data = { ...theirs }
  for (const key of new Set([...Object.keys(base), ...Object.keys(mine)])) {
    if (!changed(key)) continue
    if (Object.hasOwn(mine, key)) put(result, key, mine[key])
    else delete result[key]
  }
  return result
}

const textOf = (data: Data, key: string, serializer: SessionSerializer): string | undefined =>
  Object.hasOwn(data, key) ? serializer.serialize([data[key]]) : undefined

/** Set a key that may be called `__proto__`: it is data like any other. */
export function put(target: object, key: string, value: unknown): void {
  if (key !== '__proto__') (target as Data)[key] = value
  else
    Object.defineProperty(target, key, {
      value,
      configurable: true,
      enumerable: true,
      writable: true,
    })
}
