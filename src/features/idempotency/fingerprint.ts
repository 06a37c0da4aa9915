/** What makes two requests the same request. */
import { createHash, hash } from 'node:crypto'

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
  const where = JSON.stringify(target)
  const known = as === 'json' ? parse(seen) : seen
  if (known.kind === 'unseen') return digestOf(where)
  if (known.kind === 'parsed') {
    const { value } = known
    return digestOf(`${where}json${as === 'json' ? canonical(value) : JSON.stringify(value)}`)
  }
  return createHash('sha256')
    .update(where)
    .update(known.isWhole ? 'raw' : `first of ${known.length} `)
    .update(known.bytes)
    .digest('base64url')
}

export const digestOf = (text: string): string => hash('sha256', text, 'base64url')

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
