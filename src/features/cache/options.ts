/** Options of the response cache. */
import type { Tag } from '../../caching/tags.ts'
import type { Duration } from '../../duration.ts'
import type { Subject } from '../../store/keys.ts'

/** A value, or a promise of it. */
type MaybePromise<Type> = Type | Promise<Type>

/** Which part of the query distinguishes resources. By default all of it but `utm_*`, in its order. */
export interface QueryOptions {
  /** Names that count. All others are ignored. @default all names */
  allow?: readonly string[]
  /**
   * Names that are ignored. `*` at the end matches any rest.
   * @default ['utm_*']
   * @example ignore: ['utm_*', 'fbclid']
   */
  ignore?: readonly string[]
  /**
   * Whether names are sorted, so that `?b=1&a=2` and `?a=2&b=1` are one resource. Values of one name
   * keep their order.
   * @default false
   */
  sort?: boolean
}

/** Which cookies do not make a request personal. */
export interface CookieOptions {
  /**
   * Names of cookies that the response does not depend on, besides those of analytics. One `*` matches
   * any characters. The handler of a response that is stored does not see them.
   * @default none
   * @example ignore: ['theme_seen', 'promo_*']
   */
  ignore?: readonly string[]
}

/** Options of `tp.cache()`. */
export interface CacheOptions<Native> {
  /**
   * How long a response is fresh, whatever its max-age says. `'auto'` uses the response's own
   * s-maxage, max-age or Expires (RFC 9111). Required.
   *
   * Responses with no-store, private, Set-Cookie or `Vary: *` are not stored either way.
   * docs/cache.md lists what is stored, and what is not.
   */
  ttl: Duration | 'auto'
  /**
   * How long 404, 405, 410, 414, 451 and 501 are stored. With `ttl: 'auto'` what the response says
   * goes first.
   * @default errors are not stored; with `ttl: 'auto'` as the response says
   */
  negativeTtl?: Duration
  /**
   * Tags of the entry, for `tp.cache.invalidate()`. `res.cacheTags()` and `ctx.cacheTags()` add more
   * while the response is made.
   * @default none
   * @throws TP_VALUE for a request whose function returns what is no tag
   * @example tags: (req) => [`product:${req.params.id}`]
   */
  tags?: readonly Tag[] | ((native: Native) => MaybePromise<readonly Tag[]>)
  /**
   * Returns the owner of the response, for example the user ID. Each owner has separate entries.
   * Requests without an owner (undefined, null) share the entries of anonymous visitors.
   * @default personal requests are passed by
   * @throws TP_KEY for a request whose owner is empty, NaN or an object
   * @example scope: (req) => req.session.userId
   */
  scope?: (native: Native) => MaybePromise<string | number | undefined | null>
  /**
   * Whether the response is the same for every client, also for requests that are personal. Cookies
   * that it sets are sent to the first client, and not stored.
   * @default false
   */
  public?: boolean
  /**
   * Returns the key of the entry, in place of scheme, host, path and query.
   * @default the URL
   * @throws TP_KEY for a request whose key is empty, NaN or an object
   * @example key: (req) => ['product', req.params.id]
   */
  key?: (native: Native) => MaybePromise<Subject | number>
  /**
   * Which part of the query distinguishes resources. The handler of a response that is stored does not
   * see the rest.
   * @default all but `utm_*`
   */
  query?: QueryOptions
  /** Which cookies do not make a request personal. @default those of analytics */
  cookies?: CookieOptions
  /**
   * Request headers that the response depends on. The Vary field of a response is obeyed without it.
   * Naming them here saves a round trip.
   * @default none
   */
  vary?: readonly string[]
  /** Returns whether a request is passed by. @default no request is */
  skip?: (native: Native) => MaybePromise<boolean>
  /**
   * How long a stale response may be served while it is revalidated in the background (RFC 5861).
   * @default 0; with `ttl: 'auto'` what the response says
   */
  staleWhileRevalidate?: Duration
  /**
   * How long a stale response may be served instead of a 5xx (RFC 5861).
   * @default 0; with `ttl: 'auto'` what the response says
   */
  staleIfError?: Duration
  /**
   * How long a response with ETag or Last-Modified is kept after it was fresh. The handler is asked
   * with If-None-Match or If-Modified-Since, and its 304 makes the response fresh again (RFC 9111, 4.3).
   * @default '1h' with `ttl: 'auto'`, otherwise 0
   */
  keep?: Duration
  /**
   * Whether `ttl: 'auto'` assumes a lifetime for responses that name none: a tenth of the time since
   * Last-Modified, up to a day (RFC 9111, 4.2.2).
   * @default false
   */
  heuristic?: boolean
  /**
   * How a stale response is revalidated. `'background'`: by a copy of the request without cookies.
   * `'foreground'`: by the first request that finds it stale, while others are served the stale one.
   * @default 'background'; with `scope` 'foreground'
   */
  refresh?: 'background' | 'foreground'
  /**
   * Part of `ttl` by which it is shortened at random, from 0 to 1, so that entries do not expire at
   * the same time.
   * @default 0.1
   */
  jitter?: number
  /**
   * How long a request waits for another one that fills the same entry, before it runs its own
   * handler. 0: not at all.
   * @default '2s'
   */
  wait?: Duration
  /** How long a process may fill an entry before another one tries. @default '10s' */
  lease?: Duration
  /** Size of the largest body that is stored, in bytes. Larger ones are streamed. @default 1048576 */
  maxBodyBytes?: number
  /**
   * Whether text of more than 1 KiB is stored in gzip, and sent so to clients that accept it.
   * @default true
   */
  compress?: boolean
  /**
   * Whether hot entries are kept in this process, too: a hit then costs no round trip. Every process
   * follows the invalidations of all. `true`: up to 32 MiB.
   * @default false
   */
  near?: boolean | { maxBytes: number }
  /**
   * Whether `tp.cacheListener()` may answer near hits before the framework gets the request: without
   * your session, limits, guards and logs. Requires `near` and `public`. It cannot be combined with
   * `key`, `scope`, `skip` or tenants.
   * @default false
   */
  beforeFramework?: boolean
  /**
   * Targeted fields (RFC 9213) that override Cache-Control with `ttl: 'auto'`.
   * @default ['CDN-Cache-Control']
   */
  targeted?: readonly string[]
  /** Name of the mount in events. @default 'cache' */
  name?: string
}

/** Options of `tp.invalidate()`. */
export interface InvalidateOptions<Native> {
  /**
   * Tags to invalidate. A function is called after the handler.
   * @default none
   * @example tags: (req) => [`product:${req.params.id}`]
   */
  tags?: readonly Tag[] | ((native: Native) => MaybePromise<readonly Tag[]>)
  /** URLs or paths to purge, besides the request's own. @default none */
  purge?: readonly string[] | ((native: Native) => MaybePromise<readonly string[]>)
  /**
   * Whether entries become stale instead of invalid, so that `staleWhileRevalidate` may still serve
   * them.
   * @default false
   */
  soft?: boolean
  /** Returns whether a response with this status invalidates. @default status 200 to 399 */
  when?: (native: Native, status: number) => boolean
  /**
   * What happens if the invalidation cannot be written. `'closed'`: the request fails with 503,
   * although the handler has done its work. `'open'`: the response is sent, and an event reports it.
   * @default 'closed'
   */
  fail?: 'closed' | 'open'
}
