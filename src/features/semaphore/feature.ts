/** `tp.concurrency()`: a limited number of requests in flight. */
import { isUnavailable } from '../../errors.ts'
import {
  passThrough,
  type Exchange,
  type Feature,
  type Plan,
  type Reply,
} from '../../http/exchange.ts'
import { problemReply } from '../../http/problem.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { Full, Inside, SemaphoreEngine } from './engine.ts'

export interface Limiting<Native> {
  name: string
  ttl: number
  wait: number
  fair: boolean
  status: 429 | 503
  fail: 'closed' | 'open'
  limitOf(native: Native): number | Promise<number>
  tagOf(native: Native): Promise<string>
}

export function concurrencyFeature<Native>(
  context: ExtensionContext<Native>,
  engine: SemaphoreEngine,
  { name, ttl, wait, fair, status, fail, limitOf, tagOf }: Limiting<Native>,
): Feature<Native> {
  async function handle(x: Exchange<Native>): Promise<Plan> {
    const tag = await tagOf(x.native)
    let outcome: Inside | Full
    try {
      // Who waits has been promised more time than a request's budget.
      const budget = wait > 0 ? undefined : x.budget
      outcome = await engine.enter(tag, {
        name,
        ttl,
        wait,
        fair,
        limit: () => limitOf(x.native),
        budget,
      })
    } catch (error) {
      if (!isUnavailable(error)) throw error
      context.events.emit('unavailable', {
        feature: 'semaphore',
        name,
        reason: error.reason,
        uncertain: error.uncertain,
        rule: fail,
      })
      return fail === 'open' ? passThrough : { reply: away(x) }
    }
    if (outcome.lease === undefined) return { reply: full(x, status, outcome.waitMs) }
    const inside = outcome
    return {
      state: { place: { signal: inside.lease.signal } },
      onFinish: () => {
        inside
          .release()
          .catch((error: unknown) =>
            context.events.emit('error', { feature: 'semaphore', name, error }),
          )
      },
    }
  }
  return { name: 'concurrency', handle }
}

function full(x: Exchange, status: 429 | 503, waitMs: number): Reply {
  const seconds = Math.max(1, Math.ceil(waitMs / 1000))
  const title = status === 429 ? 'Too Many Requests' : 'Service Unavailable'
  const detail = `Too many requests are in flight. Try again in ${seconds} s.`
  const reply = problemReply({ title, status, detail }, x)
  return { ...reply, headers: { ...reply.headers, 'Retry-After': String(seconds) } }
}

function away(x: Exchange): Reply {
  const detail =
    'The requests in flight could not be counted, so nothing was done. Try again shortly.'
  const reply = problemReply({ title: 'Service Unavailable', status: 503, detail }, x)
  return { ...reply, headers: { ...reply.headers, 'Retry-After': '2' } }
}
