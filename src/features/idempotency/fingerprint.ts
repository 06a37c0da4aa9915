/** What makes two requests the same request. */
import { createHash } from 'node:crypto'

/** What is known of a request's body; `length` is what the client said. */
export type Seen =
  | { kind: 'raw'; bytes: Buffer; isWhole: boolean; length: string }
  | { kind: 'parsed'; value: unknown }
  | { kind: 'unseen' }

/**
 * SHA-256 over the target and the body. Each kind of comparison has a name of its own in it, so that a
 * body which was compared by its bytes never equals one that was compared as JSON.
 */
export function fingerprintOf(target: string, seen: Seen, as: 'body' | 'json'): string {
  const hash = createHash('sha256').update(JSON.stringify(target))
  const parsed = as === 'json' ? parse(seen) : seen
  if (parsed.kind === 'parsed') hash.update('json').update(canonical(parsed.value))
  else if (parsed.kind === 'raw')
    hash.update(parsed.isWhole ? 'raw' : `first of ${parsed.length} `).update(parsed.bytes)
  return hash.digest('base64url')
}

export const digestOf = (text: string): string =>
  createHash('sha256').update(text).digest('base64url')

function parse(seen: Seen): Seen {
  if (seen.kind !== 'raw' || !seen.isWhole) return seen
  try {
    return { kind: 'parsed', value: JSON.parse(seen.bytes.toString()) as unknown }
  } catch {
    return seen
  }
}

/** JSON whose objects have their members in the order of their names (as RFC 8785 has them). */
export function canonical(value: unknown): string {
  return (
    JSON.stringify(value, (_name, each: unknown) => (isPlain(each) ? sorted(each) : each)) ?? ''
  )
}

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const sorted = (object: Record<string, unknown>): object =>
  Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
