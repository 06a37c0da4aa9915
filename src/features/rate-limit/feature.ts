/** Rate limiting as a feature: a request in, a Plan out. */
import {
  passThrough,
  type Exchange,
  type Feature,
  type HeaderFields,
  type Plan,
  type Reply,
} from '../../http/exchange.ts'
import { problemReply } from '../../http/problem.ts'
import type { RefusalReply } from '../../http/refusal.ts'
import type { Decision } from './decision.ts'
import { fieldWriter, seconds } from './fields.ts'
import { isRequestOnly } from '../request-only.ts'
import type { RateLimitOptions } from './options.ts'

/** Decides on requests: the engine, with what was worked out for this one. */
export interface Decider<Native> {
  /** Gives what is charged for a request, at once where nothing has to be awaited. */
  decide(x: Exchange<Native>): Promise<Decision>
  now(): number
  inBackground(write: Promise<unknown>): void
  /** May it decide before a pipeline's other members ran? */
  readonly early: boolean
}

/** A limit as a feature. */
export function rateLimitFeature<Native>(
  decider: Decider<Native>,
  options: RateLimitOptions<Native>,
): Feature<Native, Promise<Decision>> {
  const {
    skip,
    shadow = false,
    skipSuccessful = false,
    skipFailed = false,
    onLimited,
    reply,
  } = options
  const refunds = skipSuccessful || skipFailed
  const fields = fieldWriter({
    standard: options.headers ?? true,
    legacy: options.legacyHeaders ?? false,
    partitionKey: options.partitionKey,
  })
  const silent = shadow || (!(options.headers ?? true) && !options.legacyHeaders)

  // Only the old headers tell the time.
  const headersOf = (decision: Decision): HeaderFields =>
    fields(decision, options.legacyHeaders ? decider.now() : 0)

  function planOf(x: Exchange<Native>, decision: Decision): Plan | Promise<Plan> {
    if (!decision.allowed && !shadow) return answerOf(x, decision)
    const state = { rateLimit: decision }
    if (!refunds) return silent ? { state } : { state, headers: () => headersOf(decision) }
    return {
      state,
      ...(!silent && { headers: () => headersOf(decision) }),
      onFinish: ({ status, finished }) => {
        if (finished && (status < 400 ? skipSuccessful : skipFailed))
          decider.inBackground(decision.refund())
      },
    }
  }

  /** A listener's mistake must not change the answer. */
  function tell(native: Native, decision: Decision): void {
    try {
      onLimited?.(native, decision)
    } catch (error) {
      decider.inBackground(Promise.reject(error))
    }
  }

  async function answerOf(x: Exchange<Native>, decision: Decision): Promise<Plan> {
    tell(x.native, decision)
    const headers = silent ? {} : headersOf(decision)
    if (!reply) return refuse(x, decision, headers)
    return {
      reply: custom(await reply(x.native, decision), decision, {
        ...headers,
        ...retryAfter(decision),
      }),
    }
  }

  function handle(x: Exchange<Native>, early: Promise<Decision> | undefined): Promise<Plan> {
    if (skip) return unlessSkipped(x, skip)
    return (early ?? decider.decide(x)).then((decision) => planOf(x, decision))
  }

  async function unlessSkipped(
    x: Exchange<Native>,
    skips: NonNullable<typeof skip>,
  ): Promise<Plan> {
    return (await skips(x.native)) ? passThrough : planOf(x, await decider.decide(x))
  }

  return {
    name: 'rateLimit',
    onBackground: 'skip',
    ...(decider.early && {
      prepare(x) {
        try {
          return decider.decide(x)
        } catch {
          // A key that cannot be had is told at this limit's turn, not before the earlier ones had theirs.
          return undefined
        }
      },
      discard: (early) => decider.inBackground(early.then((decision) => decision.refund())),
    }),
    handle,
  }
}

/** Do these options need nothing but the request itself? */
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

function retryAfter({ retryAfterMs, source }: Decision): HeaderFields {
  if (source === 'closed') return { 'Retry-After': '2' }
  return retryAfterMs === undefined
    ? {}
    : { 'Retry-After': String(Math.max(1, seconds(retryAfterMs))) }
}

/** What a refused client is told: 429 (RFC 6585) or, while nothing can be counted, 503. */
export function refuse(x: Exchange, decision: Decision, headers: HeaderFields = {}): Plan {
  const { source, policies, retryAfterMs } = decision
  const reply =
    source === 'closed'
      ? problemReply(
          {
            title: 'Service Unavailable',
            status: 503,
            detail: 'The request could not be checked against its limit. Try again shortly.',
          },
          x,
        )
      : problemReply(
          {
            type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
            title: 'Too Many Requests',
            status: 429,
            detail:
              retryAfterMs === undefined
                ? 'This request asks for more than the limit ever admits.'
                : `The limit is used up. Try again in ${Math.max(1, seconds(retryAfterMs))} s.`,
            'violated-policies': policies
              .filter(({ violated }) => violated)
              .map(({ name }) => name),
          },
          x,
        )
  return { reply: { ...reply, headers: { ...reply.headers, ...headers, ...retryAfter(decision) } } }
}

/** An answer of the application's own. */
function custom(refusal: RefusalReply, { source }: Decision, own: HeaderFields): Reply {
  const { status = source === 'closed' ? 503 : 429, headers, body = '' } = refusal
  const plain = typeof body === 'string' || Buffer.isBuffer(body)
  const type = plain ? 'text/plain; charset=utf-8' : 'application/json; charset=utf-8'
  return {
    status,
    headers: { ...own, 'Content-Type': type, ...headers },
    body: plain ? body : JSON.stringify(body),
  }
}
