/** Middlewares that hold a lease while a request is handled: `tp.exclusive()` and `tp.concurrency()`. */
import { isUnavailable } from '../errors.ts'
import type { ExtensionContext } from '../extension.ts'
import {
  passThrough,
  type Exchange,
  type Feature,
  type PassPlan,
  type Plan,
} from '../http/exchange.ts'
import { unavailableRefusal, type Refusal, type ReplyFunction } from '../http/refusal.ts'
import type { RequestBudget } from '../request-budget.ts'
import { HeldLease } from './lease-engine.ts'
import type { AcquireRefused } from './waiters.ts'

/** How a middleware acquires, refuses and releases. */
export interface RequestLeaseOptions<Native> {
  /** Names the middleware in stack traces. */
  middleware: string
  /** Names the feature in events. */
  feature: 'lock' | 'semaphore'
  /** Name of the mount in events. */
  name: string
  /** Longest wait, in ms. */
  wait: number
  fail: 'closed' | 'open'
  reply: ReplyFunction<Native> | undefined
  /** What a client is told while Redis cannot answer. */
  unavailable: string
  acquire(
    x: Exchange<Native>,
    budget: RequestBudget | undefined,
  ): Promise<HeldLease | AcquireRefused>
  /** Returns what a client is told if another holder has the lease. */
  refuse(refused: AcquireRefused): Refusal
  /** Returns the plan of a request that holds the lease. @param release never throws */
  plan(held: HeldLease, release: () => void): PassPlan
}

/** Creates the feature of such a middleware. */
export function createRequestLease<Native>(
  { events }: ExtensionContext<Native>,
  options: RequestLeaseOptions<Native>,
): Feature<Native> {
  const { middleware, feature, name, wait, fail, reply: replyWith } = options
  const reportError = (error: unknown): void => events.emit('error', { feature, name, error })

  function planOf(outcome: HeldLease | AcquireRefused): Plan {
    if (outcome instanceof HeldLease)
      return options.plan(outcome, () => void outcome.release().catch(reportError))
    return { refusal: options.refuse(outcome), replyWith }
  }

  function whenUnavailable(error: unknown): Plan {
    if (!isUnavailable(error)) throw error
    const { reason, uncertain } = error
    events.emit('unavailable', { feature, name, reason, uncertain, rule: fail })
    if (fail === 'open') return passThrough
    return { refusal: unavailableRefusal(options.unavailable), replyWith }
  }

  return {
    name: middleware,
    // A request with `wait` may take longer than its budget: the application said so.
    handle: (x) =>
      options.acquire(x, wait > 0 ? undefined : x.budget).then(planOf, whenUnavailable),
  }
}
