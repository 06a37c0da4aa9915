/** Rate limiting as a feature: a request in, a Plan out. */
import { deniedRefusal, type LimitMode } from '../../control/active-rules.ts'
import {
  passThrough,
  type Exchange,
  type Feature,
  type HeaderFields,
  type Plan,
} from '../../http/exchange.ts'
import { andThen } from '../../http/promises.ts'
import { unavailableRefusal } from '../../http/refusal.ts'
import { RequestMemo } from '../request-memo.ts'
import { isRequestOnly } from '../request-only.ts'
import type { Decision } from './decision.ts'
import { createHeaderWriter, seconds } from './header-fields.ts'
import type { LimitRefusal, RateLimitOptions } from './options.ts'

/** The limiter of a mount: the engine, with what is charged for a request. */
export interface RequestLimiter<Native> {
  /**
   * Charges a request. Emits its commands before it returns where nothing has to be awaited, and
   * returns no promise where no command is needed.
   */
  limit(x: Exchange<Native>): Decision | Promise<Decision>
  /** True if it may charge before the other members of a pipeline run. */
  readonly needsOnlyRequest: boolean
  /** What an operator has made of the limit. */
  readonly engine: {
    /** The mode that is set, undefined if the options decide. */
    readonly mode: LimitMode | undefined
    /** Returns true if a refusal of this client lets the request pass. */
    isShadow(decision: Decision): boolean
  }
  now(): number
  inBackground(write: Promise<unknown>): void
}

/** Creates the feature of a rate limit. */
export function createRateLimitFeature<Native>(
  limiter: RequestLimiter<Native>,
  options: RateLimitOptions<Native>,
): Feature<Native, Decision | Promise<Decision>> {
  const { skip, skipSuccessful = false, skipFailed = false } = options
  const { onLimited, reply: replyWith } = options
  const { headers: standard = true, legacyHeaders: legacy = false, partitionKey } = options
  const refunds = skipSuccessful || skipFailed
  const write = createHeaderWriter({ standard, legacy, partitionKey })
  const hasNoFields = !standard && !legacy

  /** A request that reaches the limit again is charged once. */
  const decided = new RequestMemo<Decision | Promise<Decision>>('turnpike.decision')
  const decide = (x: Exchange<Native>): Decision | Promise<Decision> =>
    decided.set(x, limiter.limit(x))

  // Only the X-RateLimit fields contain a time.
  const headersOf = (decision: Decision): HeaderFields =>
    write(decision, legacy ? limiter.now() : 0)

  function planOf(x: Exchange<Native>, decision: Decision): Plan {
    const isShadow = limiter.engine.isShadow(decision)
    if (!decision.allowed && !isShadow) {
      callOnLimited(x.native, decision)
      const headers = hasNoFields ? {} : headersOf(decision)
      return { refusal: refusalOf(decision, headers), replyWith }
    }
    const state = { rateLimit: decision }
    const isSilent = isShadow || hasNoFields
    if (!refunds) return isSilent ? { state } : { state, headers: () => headersOf(decision) }
    return {
      state,
      ...(!isSilent && { headers: () => headersOf(decision) }),
      onFinish: ({ status, finished }) => {
        if (finished && (status < 400 ? skipSuccessful : skipFailed))
          limiter.inBackground(decision.refund())
      },
    }
  }

  /** The fields are sent already, and a refund is on its way. */
  const planAgain = (x: Exchange<Native>, decision: Decision): Plan =>
    decision.allowed || limiter.engine.isShadow(decision)
      ? { state: { rateLimit: decision } }
      : planOf(x, decision)

  /** A listener's mistake must not change the response, nor end the process. */
  function callOnLimited(native: Native, decision: Decision): void {
    if (onLimited) limiter.inBackground((async () => onLimited(native, decision))())
  }

  async function unlessSkipped(
    x: Exchange<Native>,
    skips: NonNullable<typeof skip>,
  ): Promise<Plan> {
    if (await skips(x.native)) return passThrough
    const earlier = decided.get(x)
    return earlier ? planAgain(x, await earlier) : planOf(x, await decide(x))
  }

  return {
    name: 'rateLimit',
    onBackground: 'skip',
    ...(limiter.needsOnlyRequest && {
      prepare(x) {
        try {
          return limiter.engine.mode === 'off' || decided.get(x) ? undefined : decide(x)
        } catch {
          // `handle` throws it again, after the earlier limits had their turn.
          return undefined
        }
      },
      discard: (early) => limiter.inBackground((async () => (await early).refund())()),
    }),
    handle(x, early) {
      if (!early && limiter.engine.mode === 'off') return passThrough
      if (skip) return unlessSkipped(x, skip)
      const earlier = early ? undefined : decided.get(x)
      if (earlier) return andThen(earlier, (decision) => planAgain(x, decision))
      return andThen(early ?? decide(x), (decision) => planOf(x, decision))
    },
  }
}

/** Returns true if these options need nothing but the request itself. */
export const needsOnlyRequest = ({
  skip,
  key,
  cost,
  limit,
  window,
  policies = [],
}: RateLimitOptions<never>): boolean =>
  !skip &&
  [{ key, cost, limit, window }, ...policies].every(
    (each) =>
      [each.cost, each.limit, each.window].every((value) => typeof value !== 'function') &&
      (!each.key || isRequestOnly(each.key)),
  )

const UNCOUNTED = 'The request could not be checked against its limit. Try again shortly.'

/** Returns a refusal: 429 (RFC 6585), 503 while nothing can be counted, or 403 by a rule. */
export function refusalOf(decision: Decision, headers: HeaderFields = {}): LimitRefusal {
  const { source, policies, retryAfterMs } = decision
  if (source === 'rule') return { ...deniedRefusal, headers, decision }
  if (source === 'closed') return { ...unavailableRefusal(UNCOUNTED), headers, decision }
  const detail =
    retryAfterMs === undefined
      ? 'This request asks for more than the limit ever admits.'
      : `The limit is used up. Try again in ${Math.max(1, seconds(retryAfterMs))} s.`
  return {
    status: 429,
    code: 'TP_LIMITED',
    type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
    detail,
    members: {
      'violated-policies': policies.filter(({ violated }) => violated).map(({ name }) => name),
    },
    headers,
    retryAfterMs,
    decision,
  }
}
