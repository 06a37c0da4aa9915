/** Serializers for the data of sessions. */
import { parseStoredJson } from '../../stored-json.ts'
import { unserializableError } from './session-errors.ts'

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
  deserialize: (text) => parseStoredJson(text),
}

/**
 * Deepest nesting that is stored. JSON.parse with a reviver overflows the stack earlier than
 * JSON.stringify does: without a bound, a session could be stored that can never be read.
 */
const MAX_DEPTH = 2_000

/**
 * Serializes the data of a session.
 * @throws TP_SESSION_SIZE for data that the serializer cannot hold
 */
export function serialize(values: object, serializer: SessionSerializer): string {
  let text: unknown
  let cause: unknown
  try {
    text = serializer.serialize(values)
  } catch (error) {
    cause = error
  }
  if (typeof text === 'string') return text
  const fails = (value: unknown): boolean => {
    try {
      return typeof serializer.serialize({ value }) !== 'string'
    } catch {
      return true
    }
  }
  throw unserializableError(placeOf(values, fails), reasonOf(cause), cause)
}

/** Returns where in a session the value is that fails: `session.cart`. */
function placeOf(values: object, fails: (value: unknown) => boolean): string {
  const name = Object.keys(values).find((key) => fails((values as Record<string, unknown>)[key]))
  return name === undefined ? 'The session' : `session.${name}`
}

function reasonOf(error: unknown): string {
  if (error === undefined) return 'the serializer returned no string'
  if (error instanceof RangeError) return TOO_DEEP
  return error instanceof Error ? error.message.split('\n', 1)[0]! : 'its serializer failed'
}

const TOO_DEEP = `it is nested too deeply (at most ${MAX_DEPTH} levels)`

/** @throws TP_SESSION_SIZE for JSON that may be impossible to parse */
export function assertReadable(text: string, values: object, serializer: SessionSerializer): void {
  if ((serializer !== json && serializer !== rich) || !isTooDeep(text)) return
  const fails = (value: unknown): boolean => isTooDeep(serializer.serialize({ value }))
  throw unserializableError(placeOf(values, fails), TOO_DEEP)
}

/** Returns whether JSON is nested more deeply than `MAX_DEPTH`. */
function isTooDeep(json: string): boolean {
  // A level takes two brackets: most sessions are too short for so many.
  if (json.length <= 2 * MAX_DEPTH) return false
  let depth = 0
  for (let index = 0; index < json.length; index++) {
    const char = json[index]
    if (char === '"') index = endOfString(json, index)
    else if (char === '{' || char === '[') depth++
    else if (char === '}' || char === ']') depth--
    if (depth > MAX_DEPTH) return true
  }
  return false
}

/** Returns the index of the quotation mark that ends a string of JSON. @param start of the one that begins it */
function endOfString(json: string, start: number): number {
  let index = start + 1
  while (index < json.length && json[index] !== '"') index += json[index] === '\\' ? 2 : 1
  return index
}

const MARK = '$turnpike'

type Marked = { [MARK]: string; value: unknown }

/** JSON that also preserves Date, Map, Set and BigInt. */
const rich: SessionSerializer = {
  serialize: (data) => JSON.stringify(data, mark),
  deserialize: (text) => parseStoredJson(text, revive),
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
  // JSON has no NaN: an invalid date is stored as null.
  if (kind === 'date') return new Date((inner as number | null) ?? NaN)
  if (kind === 'map') return new Map(inner as [unknown, unknown][])
  if (kind === 'set') return new Set(inner as unknown[])
  if (kind === 'bigint') return BigInt(inner as string)
  return kind === 'object' ? inner : value
}

/** Returns the serializer that the option names. */
export const serializerOf = (given: 'json' | 'rich' | SessionSerializer): SessionSerializer =>
  given === 'json' ? json : given === 'rich' ? rich : given
