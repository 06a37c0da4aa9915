import type { CheckedDuration } from '../../duration.ts'
import type { Refusal, ReplyFunction } from '../../http/refusal.ts'
import type { Subject } from '../../store/keys.ts'
import type { RateLimitAlgorithm } from './algorithms/index.ts'
import type { Decision } from './decision.ts'
import type { FlexibleLimiter } from './flexible/flexible-members.ts'

/** A refusal by a limit, as `reply` and error handlers receive it. */
export interface LimitRefusal extends Refusal {
  /** What the limit decided. Its `source` is `'closed'` if nothing could be counted. */
  readonly decision: Decision
}

/** A value, or a function of the request that returns it, also as a promise. */
export type ValueOrFunction<Native, Type> = Type | ((native: Native) => Type | Promise<Type>)

/**
 * Returns what a request is counted by. Undefined, null, NaN, an empty string and an empty list are
 * errors (TP_KEY). Otherwise different clients would share a bucket.
 */
export type KeyFunction<Native> = (
  native: Native,
) => Subject | number | undefined | null | Promise<Subject | number | undefined | null>

/** What happens when Redis cannot answer. */
export type FailureRule =
  /** This process counts, with limit / instances. If it cannot either, requests pass. */
  | 'local'
  /** Every request passes. */
  | 'open'
  /** Every request is refused with 503 and Retry-After. */
  | 'closed'

/**
 * One limit over one window.
 * @template Literal inferred from durations
 */
export interface PolicyOptions<Native, Literal extends string = never> {
  /**
   * Name of the policy in keys, header fields and stored overrides: up to 40 letters, digits and `_.-`.
   * @default the limiter's `name`, or the window as it was written (`'1m'`)
   */
  name?: string
  /** Uses, or units of `cost`, that the window admits: an integer. 0 admits nothing. Required without `policies`. */
  limit: ValueOrFunction<Native, number>
  /**
   * Length of the window: a duration, or `'month'` for calendar months (with `'fixed-window'`).
   * Required without `policies`.
   */
  window: ValueOrFunction<Native, CheckedDuration<Literal>> | 'month'
  /**
   * Algorithm that counts the uses. At limit 100, `'sliding-window'` admits at most 100 within any window.
   * `'gcra'` admits limit + burst − 1, and `'fixed-window'` 200 around a boundary.
   * @default 'sliding-window', or 'fixed-window' with `'month'` or a `timeZone`
   */
  algorithm?: RateLimitAlgorithm
  /**
   * Uses that may come at once, with `'gcra'`.
   * @default limit
   */
  burst?: number
  /**
   * IANA time zone in which the day or month begins, with `'fixed-window'` and window `'1d'` or `'month'`.
   * @default 'UTC'
   */
  timeZone?: string
  /**
   * Units that one request costs, for this policy.
   * @default the mount's `cost`
   */
  cost?: ValueOrFunction<Native, number>
  /**
   * Time for which everything is refused after a refusal by this policy.
   * @default no block
   */
  blockFor?: CheckedDuration<Literal>
  /**
   * Longest block. Each further block is twice as long as the one before.
   * @default blockFor, so that blocks do not grow
   */
  blockMax?: CheckedDuration<Literal>
  /**
   * What this policy counts by.
   * @default the mount's `key`
   */
  key?: KeyFunction<Native>
}

/** Value of the option `lease`. */
export type LeaseOption<Literal extends string = never> =
  | boolean
  | {
      /** How long a process holds units at most: 10 ms up to an eighth of the shortest window. */
      for: CheckedDuration<Literal>
    }

/** Options of `tp.rateLimit()`: one policy in the short form, or several in `policies`. */
export interface RateLimitOptions<Native, Literal extends string = never> extends Partial<
  PolicyOptions<Native, Literal>
> {
  /**
   * Several limits at once, all or nothing: a request that one policy refuses charges none. Required
   * unless `limit` and `window` are set.
   * @example
   * policies: [{ limit: 60, window: '1m' }, { limit: 1_000, window: '1h' }]
   */
  policies?: readonly PolicyOptions<Native, Literal>[]
  /**
   * What requests are counted by.
   * @default tp.key.ip()
   */
  key?: KeyFunction<Native>
  /**
   * Units that one request costs: an integer. 0 decides without counting.
   * @default 1
   */
  cost?: ValueOrFunction<Native, number>
  /** Returns true for requests that are neither counted nor limited. @default none */
  skip?: (native: Native) => boolean | Promise<boolean>
  /**
   * Whether the charge is given back when the response's status is below 400.
   * @default false
   */
  skipSuccessful?: boolean
  /**
   * Whether the charge is given back when the response's status is 400 or more.
   * @default false
   */
  skipFailed?: boolean
  /**
   * Whether refused requests are charged, too, so that hammering keeps the limit shut.
   * @default false
   */
  countDenied?: boolean
  /**
   * Rule while Redis cannot answer.
   * @default 'local'
   */
  fail?: FailureRule
  /**
   * Whether the limit decides and reports (events, `req.rateLimit`), but never refuses and sends no
   * fields. To try a limit in production.
   * @default false
   */
  shadow?: boolean
  /**
   * Size of the networks by which IPv6 addresses are counted, in bits.
   * @default 56
   */
  ipv6Subnet?: number
  /**
   * Whether `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11) are sent.
   * @default true
   */
  headers?: boolean
  /**
   * Whether `X-RateLimit-Limit`, `-Remaining` and `-Reset` (seconds since the epoch) are sent.
   * @default false
   */
  legacyHeaders?: boolean
  /**
   * Secret of the draft's partition key, an HMAC-SHA-256 of the subject that is added to the fields.
   * @default no partition key
   */
  partitionKey?: string
  /**
   * Called at every refusal, before the response. Its result is not awaited and cannot change the
   * response. What it throws is reported as the event `error`.
   * @default none
   */
  onLimited?: (native: Native, decision: Decision) => unknown
  /**
   * The response to a refused request.
   * @default 429 with problem+json (RFC 9457)
   * @example
   * reply: (req, { decision }) => ({ status: 420, body: { retryAfterMs: decision.retryAfterMs } })
   */
  reply?: ReplyFunction<Native, LimitRefusal>
  /**
   * Whether repeated refusals of a key are answered from process memory until its retry time. `true`: for up to 10,000 keys.
   * @default false
   */
  denyCache?: boolean | { maxKeys: number }
  /**
   * Whether limits that were stored with `tp.overrides.set()` apply. They are read by the same script.
   * @default true
   */
  overrides?: boolean
  /**
   * Whether a process may hold units of a subject that is far from its limit, and admit requests from
   * them without asking Redis. Never more than the limit is admitted in any window. `true`: for 1 s,
   * or a sixteenth of the shortest window if that is shorter. Without Redis it has no effect.
   *
   * Until a lease ends, `remaining` does not show what other processes use, and a block or reset by
   * another process may be missed. Each policy requires a limit of 64 or more, and with `'gcra'` also
   * a burst of 64 or more.
   * @default false
   * @example
   * app.use(tp.rateLimit({ limit: 6_000, window: '1m', lease: true }))
   * app.use('/feed', tp.rateLimit({ limit: 100_000, window: '1h', lease: { for: '5s' } }))
   */
  lease?: LeaseOption<Literal>
  /**
   * Limiter of rate-limiter-flexible that counts in place of turnpike. Limits, windows and blocks are
   * its own. It receives plain keys unchanged, and has 100 ms to answer.
   * @default none
   */
  limiter?: FlexibleLimiter
}

/** Options of `tp.limiter()`, which is called by subject. */
export type LimiterOptions<Literal extends string = never> = Pick<
  RateLimitOptions<never, Literal>,
  | 'burst'
  | 'timeZone'
  | 'algorithm'
  | 'countDenied'
  | 'fail'
  | 'blockFor'
  | 'blockMax'
  | 'denyCache'
  | 'lease'
  | 'overrides'
> & {
  /** Uses, or units of `cost`, that the window admits. Required without `policies`. */
  limit?: number
  /** Length of the window: a duration, or `'month'` for calendar months. Required without `policies`. */
  window?: CheckedDuration<Literal> | 'month'
  /** Several limits at once, all or nothing. Required unless `limit` and `window` are set. */
  policies?: readonly (Omit<PolicyOptions<never, Literal>, 'key' | 'limit' | 'window' | 'cost'> & {
    limit: number
    window: CheckedDuration<Literal> | 'month'
    cost?: number
  })[]
}
