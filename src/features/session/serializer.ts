/** Serializers for the data of sessions. */

/** Serializes the data of sessions. */
export interface SessionSerializer {
  /** Must return the same string for the same data. Otherwise unchanged sessions are stored again. */
  serialize(data: object): string
  /** Returns the data of a string. An error means that the session cannot be read: `onCorrupt` applies. */
  deserialize(text: string): unknown
}

/** Plain JSON: functions and undefined are lost, a Date becomes a string. */
const json: SessionSerializer = {
  serialize: (data) => JSON.stringify(data),
  deserialize: (text) => JSON.parse(text) as unknown,
}

const MARK = '$turnpike'

type Marked = { [MARK]: string; value: unknown }

/** JSON that also preserves Date, Map, Set and BigInt. */
const rich: SessionSerializer = {
  serialize: (data) => JSON.stringify(data, mark),
  deserialize: (text) => JSON.parse(text, revive) as unknown,
}

/** JSON.stringify calls `toJSON` before the replacer. The original value is still on the holder. */
function mark(this: Record<string, unknown>, key: string, plain: unknown): unknown {
  const value = this[key]
  const as = (kind: string, value: unknown): Marked => ({ [MARK]: kind, value })
  if (value instanceof Date) return as('date', value.getTime())
  if (value instanceof Map) return as('map', [...value])
  if (value instanceof Set) return as('set', [...value])
  if (typeof value === 'bigint') return as('bigint', String(value))
  // Data that looks like a marker is wrapped. Otherwise it would be revived as something else.
  const isLookalike =
    typeof plain === 'object' &&
    plain !== null &&
    Object.hasOwn(plain, MARK) &&
    !isWrapped(this, key)
  return isLookalike ? as('object', plain) : plain
}

const isWrapped = (holder: Record<string, unknown>, key: string): boolean =>
  key === 'value' && Object.hasOwn(holder, MARK) && holder[MARK] === 'object'

function revive(this: Record<string, unknown>, key: string, value: unknown): unknown {
  if (
    typeof value !== 'object' ||
    value === null ||
    !Object.hasOwn(value, MARK) ||
    isWrapped(this, key)
  )
    return value
  const { [MARK]: kind, value: inner } = value as Marked
  if (kind === 'date') return new Date(inner as number)
  if (kind === 'map') return new Map(inner as [unknown, unknown][])
  if (kind === 'set') return new Set(inner as unknown[])
  if (kind === 'bigint') return BigInt(inner as string)
  return kind === 'object' ? inner : value
}

/** Returns the serializer that the option names. */
export const serializerOf = (given: 'json' | 'rich' | SessionSerializer): SessionSerializer =>
  given === 'json' ? json : given === 'rich' ? rich : given
