/** Records of API keys: from `lookup` into Redis, and back. */
import { TurnpikeError } from '../../../errors.ts'
import { openJson, sealJson, toJson } from '../json.ts'

const MAX_BYTES = 8192

/** A record that was read. */
export interface ReadRecord {
  readonly kind: 'record'
  /** Frozen: requests share it, and what one of them changed, all would see. */
  readonly record: object
  /** When the key expires by its record, ms since the epoch. */
  readonly expiresAt: number
}

/** What is known of a key. `none`: there is no such key, or it was revoked. */
export type FoundOut = ReadRecord | { readonly kind: 'none' }

/** What a script tells about a key. See find.lua and fill.lua. */
export type KeyReply =
  | FoundOut
  /** Another process is looking it up. */
  | { readonly kind: 'busy' }
  /** The caller is to look it up, or has stored what it found. */
  | { readonly kind: 'ours' }
  /** Nothing is known, or what is known is damaged. */
  | { readonly kind: 'nothing' }

/** @throws TP_VALUE if `expiresAt` of the record is no date */
export function readReply(reply: string): KeyReply {
  switch (reply.charAt(0)) {
    case 'r':
      return readRecord(reply.slice(1)) ?? { kind: 'nothing' }
    case 'n':
    case 'x':
      return { kind: 'none' }
    case 'l':
      return { kind: 'busy' }
    case 'o':
      return { kind: 'ours' }
    default:
      return { kind: 'nothing' }
  }
}

/**
 * Returns what `lookup` returned, as it is stored. Undefined: there is no such key.
 * @throws TP_VALUE for a record that is no object, or cannot be stored
 */
export function sealRecord(record: unknown): string | undefined {
  if (record === undefined || record === null || record === false) return undefined
  const where = 'apiKeys(): lookup'
  if (typeof record === 'object' && !Array.isArray(record)) {
    const json = toJson(record, MAX_BYTES, where, 'the record')
    if (losesExpiry(record, json)) throw invalidExpiry()
    return sealJson(json)
  }
  throw new TurnpikeError(
    'TP_VALUE',
    `${where} must return the key's record as an object, or undefined for a key that does not exist.`,
  )
}

/** JSON has null, or nothing, for a date that is none. The key would live for ever. */
function losesExpiry({ expiresAt }: { expiresAt?: unknown }, json: string): boolean {
  if (expiresAt === undefined || expiresAt === null || expiresAt === Infinity) return false
  const stored = JSON.parse(json) as { expiresAt?: unknown } | null
  return stored?.expiresAt === undefined || stored.expiresAt === null
}

function readRecord(sealed: string): ReadRecord | undefined {
  const record = openJson(sealed)
  if (typeof record !== 'object' || record === null || Array.isArray(record)) return undefined
  return { kind: 'record', record: freeze(record), expiresAt: expiryOf(record) }
}

function freeze<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null) return value
  for (const each of Object.values(value)) freeze(each)
  return Object.freeze(value)
}

/** A date that is none must not make a key live for ever. */
function expiryOf({ expiresAt }: { expiresAt?: unknown }): number {
  if (expiresAt === undefined || expiresAt === null) return Infinity
  const at = typeof expiresAt === 'string' ? Date.parse(expiresAt) : expiresAt
  if (typeof at === 'number' && !Number.isNaN(at)) return at
  throw invalidExpiry()
}

const invalidExpiry = (): TurnpikeError =>
  new TurnpikeError(
    'TP_VALUE',
    'apiKeys(): expiresAt of a record must be a date, or milliseconds since the epoch.',
  )
