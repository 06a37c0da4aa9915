import type { Duration } from '../../duration.ts'
import type { RefusalReply } from '../../http/refusal.ts'
import type { Subject } from '../../store/keys.ts'
import type { Decision } from './decision.ts'
import type { FlexibleLimiter } from './flexible-members.ts'

/** A value, or a function of the request that gives it, now or later. */
export type ValueOrFunction<Native, Type> = Type | ((native: Native) => Type | Promise<Type>)

/** What a request is counted by. Undefined, null or an empty list is an error (TP_KEY), never a bucket that strangers share. */
export type KeyFunction<Native> = (
  native: Native,
) => Subject | number | undefined | null | Promise<Subject | number | undefined | null>

/**
 * How uses are counted. Per 60 s at limit 100 the worst admitted within any 60 s is:
 * `'sliding-window'` 100, `'gcra'` limit + burst − 1, `'fixed-window'` 200 around a boundary.
 */
export type RateLimitAlgorithm = 'sliding-window' | 'gcra' | 'fixed-window'

/** What is done when Redis cannot answer. */
export type FailureRule =
  /** Count in this process, with limit / instances; let pass only when that is impossible too. */
  | 'local'
  /** Let every request pass. */
  | 'open'
  /** Refuse every request with 503 and Retry-After. */
  | 'closed'

/** One limit over one window. */
export interface PolicyOptions<Native> {
  /**
   * Names the policy in keys, headers and stored overrides; up to 40 letters, digits and `_.-`.
   * Default: the limiter's `name`, or the window as it was written (`'1m'`).
   */
  name?: string
  /** How many uses (or how much `cost`) the window admits: a whole number; 0 admits nothing. */
  limit: ValueOrFunction<Native, number>
  /** The window: a duration, or `'month'` for calendar months (with `'fixed-window'`). */
  window: ValueOrFunction<Native, Duration> | 'month'
  /** Default `'sliding-window'`; with `'month'` or a `timeZone`, `'fixed-window'`. */
  algorithm?: RateLimitAlgorithm
  /** With `'gcra'`: how many may come at once. Default: `limit`. */
  burst?: number
  /** With `'fixed-window'` and window `'1d'` or `'month'`: where the day or month begins, as an IANA name. Default `'UTC'`. */
  timeZone?: string
  /** What one request costs; overrides the mount's `cost` for this policy. */
  cost?: ValueOrFunction<Native, number>
  /** After a refusal by this policy, refuse everything for so long. Default: not at all. */
  blockFor?: Duration
  /** Each further block is twice as long, up to this. Default: `blockFor`, so that blocks do not grow. */
  blockMax?: Duration
  /** What this policy counts by, where it is not the mount's `key`. */
  key?: KeyFunction<Native>
}

/** Options of `tp.rateLimit()`: one policy in the short form, or several in `policies`. */
export interface RateLimitOptions<Native> extends Partial<PolicyOptions<Native>> {
  /** Several limits at once, all or nothing: a request that one refuses drains none. */
  policies?: readonly PolicyOptions<Native>[]
  /** What requests are counted by. Default: `tp.key.ip()`. */
  key?: KeyFunction<Native>
  /** What one request costs: a whole number; 0 looks without counting. Default 1. */
  cost?: ValueOrFunction<Native, number>
  /** Requests for which it is true are not counted and not limited. */
  skip?: (native: Native) => boolean | Promise<boolean>
  /** Give the charge back when the response's status is below 400. Default false. */
  skipSuccessful?: boolean
  /** Give the charge back when the response's status is 400 or more. Default false. */
  skipFailed?: boolean
  /** Charge refused requests too, so that hammering keeps the limit shut. Default false. */
  countDenied?: boolean
  /** What to do when Redis cannot answer. Default `'local'`. */
  fail?: FailureRule
  /** Decide and report (events, `req.rateLimit`), but never refuse and send no headers: for trying a limit in production. Default false. */
  shadow?: boolean
  /** The network size by which IPv6 addresses are grouped, in bits. Default 56. */
  ipv6Subnet?: number
  /** Send `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11). Default true. */
  headers?: boolean
  /** Send `X-RateLimit-Limit`, `-Remaining` and `-Reset` (seconds since the epoch) too. Default false. */
  legacyHeaders?: boolean
  /** Add the draft's partition key to the headers: an HMAC-SHA-256 of the subject under this secret. Default: none. */
  partitionKey?: string
  /** Called for every refusal, before the answer; its result is not awaited and cannot change it. */
  onLimited?: (native: Native, decision: Decision) => void
  /** The answer to a refused request. Default: 429 with problem+json (RFC 9457). */
  reply?: (native: Native, decision: Decision) => RefusalReply | Promise<RefusalReply>
  /** Answer repeated refusals of a key from process memory until its retry time. `true`: up to 10,000 keys. Default false. */
  denyCache?: boolean | { maxKeys: number }
  /** Look up limits stored with `tp.limits.set()`, within the same script. Default true. */
  overrides?: boolean
  /**
   * Count with a limiter of rate-limiter-flexible: limits, windows and blocks are then its own. It is given plain
   * keys as they are, and 100 ms to answer.
   */
  limiter?: FlexibleLimiter
}

/** Options of `tp.limiter()`, for use outside a request: the subject is given with each call. */
export type LimiterOptions = Pick<
  RateLimitOptions<never>,
  | 'burst'
  | 'timeZone'
  | 'algorithm'
  | 'countDenied'
  | 'fail'
  | 'blockFor'
  | 'blockMax'
  | 'denyCache'
  | 'overrides'
> & {
  limit?: number
  window?: Duration | 'month'
  policies?: readonly (Omit<PolicyOptions<never>, 'key' | 'limit' | 'window' | 'cost'> & {
    limit: number
    window: Duration | 'month'
    cost?: number
  })[]
}
