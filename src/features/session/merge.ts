/** Two requests have changed one session: a three-way merge of its top-level keys. */
import type { SessionSerializer } from './serializer.ts'

/** The data of a session, by top-level key. */
export type SessionValues = Record<string, unknown>

/** What happens when two requests have changed one session. */
export type OnConflict =
  /** Keep both changes. If both changed the same key, the later save wins. */
  | 'merge'
  /** The later save replaces the whole session. */
  | 'last-write-wins'
  /** The later request fails with TP_SESSION_CONFLICT (409). */
  | 'reject'
  /** Returns the data to store: from what the request had read, what it wants to store, and what is stored now. */
  | ((base: SessionValues, mine: SessionValues, theirs: SessionValues) => SessionValues)

/** Returns `theirs` with the changes from `base` to `mine`. */
export function merge(
  base: SessionValues,
  mine: SessionValues,
  theirs: SessionValues,
  serializer: SessionSerializer,
): SessionValues {
  const changed = (key: string): boolean =>
    serializedValue(base, key, serializer) !== serializedValue(mine, key, serializer)
  const result: SessionValues = { ...theirs }
  for (const key of new Set([...Object.keys(base), ...Object.keys(mine)])) {
    if (!changed(key)) continue
    if (Object.hasOwn(mine, key)) setOwn(result, key, mine[key])
    else delete result[key]
  }
  return result
}

const serializedValue = (
  values: SessionValues,
  key: string,
  serializer: SessionSerializer,
): string | undefined =>
  Object.hasOwn(values, key) ? serializer.serialize([values[key]]) : undefined

/** Sets an own property. `__proto__` is data like any other key: assigning it would set the prototype. */
export function setOwn(target: object, key: string, value: unknown): void {
  if (key !== '__proto__') (target as SessionValues)[key] = value
  else
    Object.defineProperty(target, key, {
      value,
      configurable: true,
      enumerable: true,
      writable: true,
    })
}
