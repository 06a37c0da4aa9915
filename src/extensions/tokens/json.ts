/** What applications bind to a token, as it is stored: JSON, bounded, with a checksum. */
import { crc32 } from 'node:zlib'
import { TurnpikeError } from '../../errors.ts'

/**
 * Returns a value as JSON. Undefined becomes null.
 * @throws TP_VALUE for what JSON cannot hold, or more than `maxBytes`
 */
export function toJson(value: unknown, maxBytes: number, where: string, what: string): string {
  let json: string | undefined
  let cause: unknown
  try {
    json = JSON.stringify(value ?? null) as string | undefined
  } catch (error) {
    cause = error
  }
  if (json === undefined)
    throw new TurnpikeError('TP_VALUE', `${where}: ${what} must be a value that JSON can hold.`, {
      cause,
    })
  const bytes = Buffer.byteLength(json)
  if (bytes <= maxBytes) return json
  throw new TurnpikeError(
    'TP_VALUE',
    `${where}: ${what} takes ${bytes} bytes as JSON. At most ${maxBytes} are stored: keep it in your database, and an ID here.`,
  )
}

const CHECKSUM_LENGTH = 8

/**
 * Returns JSON as it is stored, with its CRC-32. Otherwise a damaged reply could name another user
 * and still be JSON.
 */
export const sealJson = (json: string): string =>
  crc32(json).toString(16).padStart(CHECKSUM_LENGTH, '0') + json

/** Returns the value of sealed JSON. Undefined if it was damaged. */
export function openJson(sealed: string): unknown {
  const json = sealed.slice(CHECKSUM_LENGTH)
  return sealJson(json) === sealed ? parseJson(json) : undefined
}

/** Returns the value of JSON. Undefined if it is none. */
export function parseJson(json: string): unknown {
  try {
    return JSON.parse(json) as unknown
  } catch {
    return undefined
  }
}
