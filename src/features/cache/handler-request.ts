/** The request as its handler sees it while it fills an entry: only what the key says. */
import type { CacheEntry } from '../../caching/entry.ts'
import type { PassPlan, RequestHead } from '../../http/exchange.ts'
import type { CacheLookup } from './cache-lookup.ts'
import { responseIn } from './cached-response.ts'
import { CONDITIONS, isConditional } from './reply.ts'
import { selectQuery } from './urls.ts'

/** The two views of a request that fills an entry. */
export class HandlerRequest {
  /** The request as the client sent it. */
  readonly client: RequestHead
  /**
   * True if the handler evaluates conditions and ranges itself. It sees them if the request asks for a
   * range, and if the resource's responses are not stored: then all is as without a cache.
   */
  readonly seesConditions: boolean
  /** Conditions that ask the handler whether the former entry is still current (RFC 9111, 4.3.1). */
  readonly validators: Readonly<Record<string, string>>
  readonly #hidesCookies: boolean
  readonly #selectQuery: (query: string) => string

  /** @param former the entry that was stored before, if it can still be used */
  constructor(
    { x, engine, keys, mount, hidesCookies, asksForRange }: CacheLookup<any>,
    former: CacheEntry | undefined,
  ) {
    // A copy: what the handler sees of them is changed meanwhile.
    this.client = { method: x.method, headers: { ...x.headers } }
    this.seesConditions =
      isConditional(this.client) && (asksForRange || engine.isNotStored(keys.entry))
    this.validators = former && !this.seesConditions ? validatorsOf(former) : {}
    this.#hidesCookies = hidesCookies
    const { query, key } = mount.options
    // A key of the application's own says what the response depends on.
    this.#selectQuery = key ? (query) => query : (given) => selectQuery(given, query)
  }

  /** Returns what hides the rest of the request from the handler. */
  get masks(): Pick<PassPlan, 'requestHeaders' | 'requestQuery'> {
    const hidden = this.seesConditions ? [] : CONDITIONS.map((name) => [name, undefined] as const)
    return {
      requestHeaders: {
        ...Object.fromEntries(hidden),
        ...this.validators,
        ...(this.#hidesCookies && { cookie: undefined }),
      },
      requestQuery: this.#selectQuery,
    }
  }
}

function validatorsOf(former: CacheEntry): Record<string, string> {
  const { etag, fields, hasOwnValidators, status } = responseIn(former)
  if (!hasOwnValidators || status !== 200) return {}
  const modified = fields.find(([name]) => name === 'last-modified')?.[1]
  const hasEtag = etag !== undefined && fields.some(([name]) => name === 'etag')
  return {
    ...(hasEtag && { 'if-none-match': etag }),
    ...(typeof modified === 'string' && { 'if-modified-since': modified }),
  }
}
