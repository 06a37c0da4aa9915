/** One text for one value, whatever the order of its properties: what arguments are hashed by. */
import { createHash } from 'node:crypto'
import { TurnpikeError } from '../../errors.ts'

/** Canonical JSON; what JSON cannot tell apart (dates, bytes, big integers, undefined, NaN) is tagged. */
export function canonical(value: unknown): string {
  return JSON.stringify(tagged(value, []))
}

function tagged(value: unknown, above: readonly unknown[]): unknown {
  if (value === null || typeof value === 'boolean') return value
  if (typeof value === 'string')
    return value.isWellFormed() ? value : { $text: Buffer.from(value, 'utf16le').toString('hex') }
  if (typeof value === 'number')
    return Number.isFinite(value) && !Object.is(value, -0)
      ? value
      : { $number: Object.is(value, -0) ? '-0' : String(value) }
  if (value === undefined) return { $undefined: true }
  if (typeof value === 'bigint') return { $bigint: String(value) }
  if (typeof value !== 'object')
    throw new TurnpikeError(
      'TP_VALUE',
      `A ${typeof value} cannot be part of a key: give wrap() a key function.`,
    )
  if (above.includes(value))
    throw new TurnpikeError('TP_VALUE', 'A value that contains itself cannot be part of a key.')
  const path = [...above, value]
  if (Array.isArray(value)) return Array.from(value, (each: unknown) => tagged(each, path))
  if (value instanceof Date) return { $date: value.getTime() }
  if (ArrayBuffer.isView(value))
    return {
      $bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64'),
    }
  if (value instanceof Map) return { $map: [...value].map((pair) => tagged(pair, path)) }
  if (value instanceof Set) return { $set: [...value].map((each) => tagged(each, path)) }
  const properties = Object.entries(value).filter(([, each]) => each !== undefined)
  const sorted = properties
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, each]) => [name.startsWith('$') ? `$${name}` : name, tagged(each, path)])
  return Object.fromEntries(sorted)
}

/** A short name for any value: 32 characters of SHA-256 over its canonical form. */
export const hash = (value: unknown): string =>
  createHash('sha256').update(canonical(value)).digest('base64url').slice(0, 32)
