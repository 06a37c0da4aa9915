/** What makes two requests the same request. */
import { createHash, hash } from 'node:crypto'
import type { ExtensionContext } from '../../extension.ts'
import type { Exchange } from '../../http/exchange.ts'
import { andThen } from '../../http/promises.ts'
import { nodeRequestOf, peekBody } from '../../http/request-body.ts'
import { canonicalJson } from './canonical-json.ts'
import { boundaryOf, hashMultipart } from './multipart.ts'
import type { IdempotencyOptions } from './options.ts'
import { comparedFiles, type ComparedFile } from './uploads.ts'

/** A request body; `length` is the Content-Length. */
export type BodyView =
  | { kind: 'raw'; bytes: Buffer; isWhole: boolean; length: string }
  | { kind: 'parsed'; value: unknown; files?: ComparedFile[] }
  | { kind: 'unseen' }

export const digestOf = (text: string): string => hash('sha256', text, 'base64url')

/** Returns the function that computes the fingerprint of a request: a SHA-256 in base64url. */
export function createFingerprint<Native>(
  { events }: ExtensionContext<Native>,
  as: NonNullable<IdempotencyOptions<Native>['fingerprint']>,
  maxRequestBytes: number,
): (x: Exchange<Native>) => string | Promise<string> {
  if (typeof as === 'function') return (x) => andThen(as(x.native), (own) => digestOf(`own${own}`))

  const viewOf = (x: Exchange<Native>): BodyView | Promise<BodyView> =>
    andThen(peekBody(x.native, maxRequestBytes), (body) => {
      if (body.kind === 'raw') {
        const length = nodeRequestOf(x.native).headers['content-length'] ?? 'unknown'
        return { ...body, length }
      }
      const files = comparedFiles(x.native, maxRequestBytes)
      const value = body.kind === 'parsed' ? body.value : undefined
      if (files !== undefined)
        return files.then((files): BodyView => ({ kind: 'parsed', value, files }))
      if (body.kind === 'unseen')
        events.warn(
          'tp.idempotency(): the body was read before this middleware and is not on the request, so bodies cannot be compared. Mount it earlier, or set `fingerprint`.',
        )
      return body
    })

  return (x) =>
    andThen(viewOf(x), (body) => fingerprintOf(x.url, x.header('content-type'), body, as))
}

/**
 * Returns the SHA-256 of the target, the media type and the body. It contains the kind of comparison.
 * Otherwise a body that was compared by its bytes could equal one that was compared as JSON.
 */
export function fingerprintOf(
  target: string,
  contentType: string | undefined,
  body: BodyView,
  as: 'body' | 'json',
): string {
  const mediaType = contentType?.split(';', 1)[0]!.trim().toLowerCase() ?? ''
  const start = JSON.stringify([target, mediaType])
  if (body.kind === 'unseen') return digestOf(start)
  if (body.kind === 'parsed') {
    const { value, files } = body
    return digestOf(`${start}json${serialized(files === undefined ? value : { value, files })}`)
  }
  const json = as === 'json' || isJson(mediaType) ? parseWhole(body) : undefined
  if (json !== undefined) return digestOf(`${start}json${json}`)
  const digest = createHash('sha256').update(start)
  const boundary = boundaryOf(contentType ?? '')
  if (boundary !== undefined) hashMultipart(digest.update('multipart'), boundary, body)
  else digest.update(body.isWhole ? 'raw' : `first of ${body.length} `).update(body.bytes)
  return digest.digest('base64url')
}

/** Returns whether a media type is JSON (RFC 8259, RFC 6839). */
const isJson = (mediaType: string): boolean =>
  mediaType === 'application/json' || mediaType.endsWith('+json')

/** Returns a body in canonical form; undefined if it is no JSON, or was not seen whole. */
function parseWhole({ bytes, isWhole }: Extract<BodyView, { kind: 'raw' }>): string | undefined {
  if (!isWhole || bytes.length === 0) return undefined
  try {
    return canonicalJson(JSON.parse(bytes.toString()))
  } catch {
    return undefined
  }
}

/** Returns what a parser made of a body, as a string to compare. */
function serialized(value: unknown): string {
  try {
    return canonicalJson(value)
  } catch {
    // It contains itself, so it is no JSON that a client sent.
    return 'unknown'
  }
}
