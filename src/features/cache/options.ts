import type { Duration } from '../../duration.ts'
import type { Subject } from '../../store/keys.ts'

/** A value now or later. */
type Maybe<Type> = Type | Promise<Type>

/** Which part of the query tells resources apart. By default all of it in its order, without `utm_*`. */
export interface QueryOptions {
  /** Names that count; all others are ignored. */
  allow?: readonly string[]
  /** Names that do not count; `*` at the end stands for any rest. Default `['utm_*']`. */
  ignore?: readonly string[]
  /** Put names in order, so that `?b=1&a=2` is `?a=2&b=1`. Values of one name keep their order. Default false. */
  sort?: boolean
}

/** Options of `tp.cache()`. */
export interface CacheOptions<Native> {
  /**
   * For how long a response is fresh, whatever its `max-age` says; or `'auto'`: by RFC 9111 alone, that is, by the
   * response's own s-maxage, max-age or Expires. Either way no-store, private, no-cache, Set-Cookie and `Vary: *` are
   * obeyed. No default.
   */
  ttl: Duration | 'auto'
  /** Also keep 404, 405, 410, 414, 451 and 501, for so long. Default: errors are not kept. */
  negativeTtl?: Duration
  /** What the entry can be invalidated by. `res.cacheTags()` and `ctx.cacheTags()` add more while the response is made. */
  tags?: readonly string[] | ((native: Native) => Maybe<readonly string[]>)
  /**
   * Whose copy it is: each scope has entries of its own. Needed where requests carry Authorization or a session; those
   * of nobody (undefined, null) share the entries without a scope.
   */
  scope?: (native: Native) => Maybe<string | number | undefined | null>
  /** The response is the same for everybody, also where requests carry Authorization or a session. Default false. */
  public?: boolean
  /** What is cached, in place of scheme, host, path and query. */
  key?: (native: Native) => Maybe<Subject>
  query?: QueryOptions
  /** Request headers that the response depends on. Not needed for correctness (its Vary is obeyed), but saves a round trip. */
  vary?: readonly string[]
  /** Requests for which it is true pass by the cache. */
  skip?: (native: Native) => Maybe<boolean>
  /** For so long after it was fresh a response may be served while it is made anew. Default 0; with `'auto'` what the response says. */
  staleWhileRevalidate?: Duration
  /** For so long after it was fresh a response may be served in place of a 5xx. Default 0; with `'auto'` what the response says. */
  staleIfError?: Duration
  /**
   * Who makes a stale response anew: `'background'`, a copy of the request that nobody waits for; `'foreground'`, the first
   * request that comes, while the others are served the stale one. Default `'background'`, except with `scope`.
   */
  refresh?: 'background' | 'foreground'
  /** By how much of itself a `ttl` is shortened at random, so that entries do not all end together: from 0 to 1. Default 0.1. */
  jitter?: number
  /** How long a request waits for another process that is making the same response, before it runs its own handler. 0: not at all. Default `'2s'`. */
  wait?: Duration
  /** How long a process may take before another one tries. Default `'10s'`. */
  lease?: Duration
  /** Longer bodies are not kept; they stream on. Default 1,048,576 (1 MiB). */
  maxBodyBytes?: number
  /** Keep texts of more than 1 KiB compressed (gzip), and send them so to who accepts it. Default true. */
  compress?: boolean
  /** Keep hot entries in this process too, coherent with the other processes. Default false; `true`: up to 32 MiB. */
  near?: boolean | { maxBytes: number }
  /**
   * `tp.edge()` may answer from this process before the application sees the request: without your session, limits,
   * guards and logs. Only with `near` and `public`, and without `key`, `scope`, `skip` and tenants. Default false.
   */
  beforeFramework?: boolean
  /** Targeted fields (RFC 9213) that go before Cache-Control with `'auto'`. Default `['CDN-Cache-Control']`. */
  targeted?: readonly string[]
  /** Names the mount in events. Default `'cache'`. */
  name?: string
}

/** Options of `tp.invalidate()`. */
export interface InvalidateOptions<Native> {
  /** What is invalidated. Asked after the handler, before the client sees the end of the response. */
  tags?: readonly string[] | ((native: Native) => Maybe<readonly string[]>)
  /** Paths or URLs to be purged, besides that of the request itself. */
  purge?: readonly string[] | ((native: Native) => Maybe<readonly string[]>)
  /** Expire rather than remove: `staleWhileRevalidate` may go on serving it. Default false. */
  soft?: boolean
  /** For which statuses. Default: from 200 to 399. */
  when?: (native: Native, status: number) => boolean
  /**
   * When the invalidation cannot be written: `'closed'` fails the request with 503, although its work is done;
   * `'open'` lets the answer out and reports an event. Default `'closed'`.
   */
  fail?: 'closed' | 'open'
}
