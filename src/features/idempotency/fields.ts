/** What clients are told about keys, and which header fields of an answer are stored. */
import type { Exchange, HeaderFields, Reply } from '../../http/exchange.ts'
import { problemReply, type ProblemDetails } from '../../http/problem.ts'
import type { Answer } from './answer.ts'

/** Fields that describe the answer itself. */
const USUAL = [
  'accept-ranges',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-location',
  'content-range',
  'content-type',
  'etag',
  'expires',
  'last-modified',
  'link',
  'location',
  'retry-after',
  'vary',
  'warning',
]

/** Fields that belong to one connection, one moment or one visit: storing them would leak or lie. */
export const NEVER: readonly string[] = [
  'set-cookie',
  'date',
  'connection',
  'keep-alive',
  'transfer-encoding',
  'trailer',
  'upgrade',
]

/** Gives the fields of an answer that are stored. @param more names, in any case */
export function storedFields(
  more: readonly string[],
): (headers: HeaderFields, method: string) => HeaderFields {
  const allowed = new Set([...USUAL, ...more.map((name) => name.toLowerCase())])
  return (headers, method) => {
    const kept: HeaderFields = {}
    for (const field in headers) {
      const name = field.toLowerCase()
      // Of HEAD, the length is all there is of the body.
      if (allowed.has(name) || (method === 'HEAD' && name === 'content-length'))
        kept[field] = headers[field]!
    }
    return kept
  }
}

export const replay = ({ status, headers }: Answer, body: Buffer): Reply => ({
  status,
  headers: { ...headers, 'Idempotency-Replayed': 'true' },
  ...(body.length > 0 && { body }),
})

/** The answers about keys (draft-ietf-httpapi-idempotency-key-header-07, 2.7). */
export function problems(
  docsUrl: string | undefined,
  header: string,
): {
  missing(x: Exchange): Reply
  malformed(x: Exchange, why: string): Reply
  mismatch(x: Exchange): Reply
  running(x: Exchange, leftMs: number): Reply
  unkept(x: Exchange, status: number): Reply
  interrupted(x: Exchange): Reply
  away(x: Exchange): Reply
} {
  const type = docsUrl === undefined ? {} : { type: docsUrl }
  const link: HeaderFields =
    docsUrl === undefined ? {} : { Link: `<${docsUrl}>; rel="describedby"` }
  const tell = (
    x: Exchange,
    what: Omit<ProblemDetails, 'type'>,
    headers: HeaderFields = {},
  ): Reply => {
    const reply = problemReply({ ...type, ...what } as ProblemDetails, x)
    return { ...reply, headers: { ...reply.headers, ...link, ...headers } }
  }
  return {
    missing: (x) =>
      tell(x, {
        title: `${header} is missing`,
        status: 400,
        detail: `This request needs the header ${header}: a text of your own that no other request of yours has.`,
      }),
    malformed: (x, why) =>
      tell(x, {
        title: `${header} is malformed`,
        status: 400,
        detail: `The header ${header} cannot be used: ${why}.`,
      }),
    mismatch: (x) =>
      tell(x, {
        title: `${header} is already used`,
        status: 422,
        detail:
          'This key was used for a request with another content. Use a key of its own for each request.',
      }),
    running: (x, leftMs) =>
      tell(
        x,
        {
          title: `A request is outstanding for this ${header}`,
          status: 409,
          detail:
            'The first request with this key is still being worked on. Ask again for its answer.',
        },
        { 'Retry-After': String(Math.min(5, Math.max(1, Math.ceil(leftMs / 1000)))) },
      ),
    unkept: (x, status) =>
      tell(x, {
        title: 'The answer was not kept',
        status: 409,
        detail: `This request was carried out and answered with status ${status}, but the answer was too long to be kept. Do not repeat it under another key; ask for its result.`,
        'answered-status': status,
      }),
    interrupted: (x) =>
      tell(x, {
        title: 'The request was interrupted',
        status: 409,
        detail:
          'An earlier attempt at this request did not end, and nobody knows how far it came. Find that out before you repeat it under another key.',
      }),
    away: (x) =>
      tell(
        x,
        {
          title: 'Service Unavailable',
          status: 503,
          detail:
            'The key could not be checked, so nothing was done. Repeat the request with the same key.',
        },
        { 'Retry-After': '2' },
      ),
  }
}
