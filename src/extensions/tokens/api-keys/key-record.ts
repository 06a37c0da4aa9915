/** Records of API keys: from `lookup` into Redis, and back. */
import { TurnpikeError } from '../../../errors.ts'
import { fromJson, toJson } from '../json.ts'

const MAX_BYTES = 8192

/** A record that was read. */
export interface ReadRecord {
  /** Frozen: requests share it, and what one of them changed, all would see. */
  readonly record: object
  /** When the key expires by its record, ms since the epoch. */
  readonly expiresAt: number
}

/**
 * Returns what `lookup` returned, as it is stored. Undefined: there is no such key.
 * @throws TP_VALUE for a record that is no object, or cannot be stored
 */
export function recordJson(record: unknown): string | undefined {
  if (record === undefined || record === null || record === false) return undefined
  const where = 'apiKeys(): lookup'
  if (typeof record === 'object' && !Array.isArray(record))
    return toJson(record, MAX_BYTES, where, 'the record')
  throw new TurnpikeError(
    'TP_VALUE',
    `${where} must return the key's record as an object, or undefined for a key that does not exist.`,
  )
}

/**
 * Reads a record. Undefined for what is none: it may have been changed in Redis.
 * @throws TP_VALUE if `expiresAt` is no date. The key must not live for ever by mistake.
 */
export function readRecord(json: string): ReadRecord | undefined {
  const record = fromJson(json)
  if (typeof record !== 'object' || record === null || Array.isArray(record)) return undefined
  return { record: freeze(record), expiresAt: expiryOf(record) }
}

function freeze<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null) return value
  for (const each of Object.values(value)) freeze(each)
  return Object.freeze(value)
}

function expiryOf({ expiresAt }: { expiresAt?: unknown }): number {
  if (expiresAt === undefined || expiresAt === null) return Infinity
  const at = typeof expiresAt === 'string' ? Date.parse(expiresAt) : expiresAt
  if (typeof at === 'number' && !Number.isNaN(at)) return at
  throw new TurnpikeError(
    'TP_VALUE',
    'apiKeys(): expiresAt of a record must be a date, or milliseconds since the epoch.',
  )
}
