/** What makes two requests the same request. */
import { createHash, hash } from 'node:crypto'
import type { ExtensionContext } from '../../extension.ts'
import type { Exchange } from '../../http/exchange.ts'
import { andThen } from '../../http/promises.ts'
import { nodeRequestOf, peekBody } from '../../http/request-body.ts'
import type { IdempotencyOptions } from './options.ts'

/** A request body; `length` is the Content-Length. */
export type BodyView =
  | { kind: 'raw'; bytes: Buffer; isWhole: boolean; length: string }
  | { kind: 'parsed'; value: unknown }
  | { kind: 'unseen' }

export const digestOf = (text: string): string => hash('sha256', text, 'base64url')

/** Returns the function that computes the fingerprint of a request: a SHA-256 in base64url. */
export function createFingerprint<Native>(
  { events }: ExtensionContext<Native>,
  as: NonNullable<IdempotencyOptions<Native>['fingerprint']>,
  maxRequestBytes: number,
): (x: Exchange<Native>) => string | Promise<string> {
  if (typeof as === 'function') return (x) => andThen(as(x.native), (own) => digestOf(`own${own}`))
  return (x) =>
    andThen(peekBody(x.native, maxRequestBytes), (body) => {
      if (body.kind === 'unseen') {
        events.warn(
          'tp.idempotency(): the body was read before this middleware and is not on the request, so bodies cannot be compared. Mount it earlier, or set `fingerprint`.',
        )
      }
      const length = nodeRequestOf(x.native).headers['content-length'] ?? 'unknown'
      return fingerprintOf(x.url, body.kind === 'raw' ? { ...body, length } : body, as)
    })
}

/**
 * Returns the SHA-256 of the target and the body. It contains the kind of comparison. Otherwise a
 * body that was compared by its bytes could equal one that was compared as JSON.
 */
export function fingerprintOf(target: string, body: BodyView, as: 'body' | 'json'): string {
  const where = JSON.stringify(target)
  const known = as === 'json' ? parse(body) : body
  if (known.kind === 'unseen') return digestOf(where)
  if (known.kind === 'parsed') {
    const { value } = known
    return digestOf(`${where}json${as === 'json' ? canonicalJson(value) : JSON.stringify(value)}`)
  }
  return createHash('sha256')
    .update(where)
    .update(known.isWhole ? 'raw' : `first of ${known.length} `)
    .update(known.bytes)
    .digest('base64url')
}

function parse(body: BodyView): BodyView {
  if (body.kind !== 'raw' || !body.isWhole) return body
  try {
    return { kind: 'parsed', value: JSON.parse(body.bytes.toString()) as unknown }
  } catch {
    return body
  }
}

/** Serializes JSON with the members of objects in the order of their names (as RFC 8785). */
export function canonicalJson(value: unknown): string {
  return (
    JSON.stringify(value, (_name, each: unknown) => (isPlain(each) ? sorted(each) : each)) ?? ''
  )
}

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const sorted = (object: Record<string, unknown>): object =>
  Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
