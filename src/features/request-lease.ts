/** Middlewares that hold a lease while a request is handled: `tp.exclusive()` and `tp.concurrency()`. */
import type { ExtensionContext } from '../extension.ts'
import {
  passThrough,
  type Exchange,
  type Feature,
  type PassPlan,
  type Plan,
} from '../http/exchange.ts'
import { andThen } from '../http/promises.ts'
import { unavailableRefusal, type Refusal, type ReplyFunction } from '../http/refusal.ts'
import { peekBody } from '../http/request-body.ts'
import type { RequestBudget } from '../request-budget.ts'
import { applyFailureRule } from './failure-rule.ts'
import { HoldTimes } from './hold-times.ts'
import { HeldLease } from './lease-engine.ts'
import type { RequestHoldings } from './request-holdings.ts'
import type { AcquireRefused } from './waiters.ts'

/** How a middleware acquires, refuses and releases. */
export interface RequestLeaseOptions<Native> {
  /** Names the middleware in stack traces and warnings. */
  middleware: 'exclusive' | 'concurrency'
  /** Names the feature in events. */
  feature: 'lock' | 'semaphore'
  /** Name of the mount in events. */
  name: string
  /** Longest wait, in ms. */
  wait: number
  fail: 'closed' | 'open'
  reply: ReplyFunction<Native> | undefined
  /** The refusal while Redis cannot answer. */
  unavailable: string
  /** The leases that requests hold through other mounts. */
  holdings: RequestHoldings
  /** Returns the tag of a request's lease. */
  tagOf(native: Native): Promise<string>
  acquire(
    tag: string,
    native: Native,
    budget: RequestBudget | undefined,
  ): Promise<HeldLease | AcquireRefused>
  /** The refusal if other requests hold the lease. */
  refusal: Omit<Refusal, 'retryAfterMs'>
  /** Returns the plan of a request that holds the lease. @param release never throws */
  plan(held: HeldLease, release: () => void): PassPlan
}

/**
 * Part of a body that is read before the lease is acquired, in bytes. Requests that are refused are
 * read as well, so it bounds what they cost.
 */
const READ_AHEAD = 65_536

/** Creates the feature of such a middleware. */
export function createRequestLease<Native>(
  context: ExtensionContext<Native>,
  options: RequestLeaseOptions<Native>,
): Feature<Native> {
  const { events } = context
  const { middleware, feature, name, wait, fail, reply: replyWith, holdings } = options
  const holdTimes = new HoldTimes()
  const reportError = (error: unknown): void => events.emit('error', { feature, name, error })

  function planOf(x: Exchange<Native>, tag: string, outcome: HeldLease | AcquireRefused): Plan {
    if (!(outcome instanceof HeldLease)) {
      const retryAfterMs = holdTimes.estimate(outcome)
      return { refusal: { ...options.refusal, retryAfterMs }, replyWith }
    }
    holdings.add(x, tag)
    const { store } = context
    const began = store.monotonic()
    let isReleased = false
    return options.plan(outcome, () => {
      if (!isReleased) holdTimes.add(store.monotonic() - began)
      isReleased = true
      outcome.release().catch(reportError)
    })
  }

  function whenUnavailable(error: unknown): Plan {
    const rule = applyFailureRule(events, { feature, name }, fail, error)
    if (rule === 'open') return passThrough
    return { refusal: unavailableRefusal(options.unavailable), replyWith }
  }

  async function handleWithBody(x: Exchange<Native>): Promise<Plan> {
    const tag = await options.tagOf(x.native)
    if (holdings.has(x, tag)) return passThrough
    // A request with `wait` may take longer than its budget: the application said so.
    const budget = wait > 0 ? undefined : x.budget
    return await options
      .acquire(tag, x.native, budget)
      .then((outcome) => planOf(x, tag, outcome), whenUnavailable)
  }

  return {
    name: middleware,
    // Acquire only when the body is there. Otherwise a client that sends it slowly keeps others out.
    handle: (x) =>
      andThen(peekBody(x.native, READ_AHEAD), (body) => {
        if (body.kind === 'raw' && !body.isWhole)
          events.warn(
            `tp.${middleware}(): a request with a body of more than 64 KiB holds its lease while the client sends the rest. If the handler does not need the upload itself, mount tp.${middleware}() after the middleware that reads the body.`,
          )
        return handleWithBody(x)
      }),
  }
}
