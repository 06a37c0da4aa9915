/** What applications bind to a token, as it is stored: JSON, bounded. */
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

/** Returns what a string from Redis holds. Undefined if it is no JSON. */
export function fromJson(json: string): unknown {
  try {
    return JSON.parse(json) as unknown
  } catch {
    return undefined
  }
}
