/** `tp.exclusive()`: one request at a time per resource. */
import { isUnavailable } from '../../errors.ts'
import { passThrough, type Exchange, type Feature, type Plan } from '../../http/exchange.ts'
import { problemReply } from '../../http/problem.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { Busy, Held, LockEngine } from './engine.ts'
import { lockOf } from './lock.ts'

export interface Excluding<Native> {
  name: string
  ttl: number
  wait: number
  fair: boolean
  fail: 'closed' | 'open'
  /** The lock of a request. */
  tagOf(native: Native): Promise<string>
}

export function exclusiveFeature<Native>(
  context: ExtensionContext<Native>,
  engine: LockEngine,
  { name, ttl, wait, fair, fail, tagOf }: Excluding<Native>,
): Feature<Native> {
  async function handle(x: Exchange<Native>): Promise<Plan> {
    const tag = await tagOf(x.native)
    let outcome: Held | Busy
    try {
      // Who waits has been promised more time than a request's budget.
      const budget = wait > 0 ? undefined : x.budget
      outcome = await engine.acquire(tag, { name, ttl, wait, fair, waitReplicas: 0, budget })
    } catch (error) {
      if (!isUnavailable(error)) throw error
      context.events.emit('unavailable', {
        feature: 'lock',
        name,
        reason: error.reason,
        uncertain: error.uncertain,
        rule: fail,
      })
      return fail === 'open' ? passThrough : { reply: away(x) }
    }
    if (outcome.token === undefined) return { reply: locked(x, outcome.waitMs) }
    const held = outcome
    const release = (): void => {
      held
        .release()
        .catch((error: unknown) => context.events.emit('error', { feature: 'lock', name, error }))
    }
    return {
      state: { lock: lockOf([[name, held]]) },
      // The handler has ended its answer, whether or not the client is still there to see it.
      beforeEnd: async () => release(),
      onAbort: release,
      onFinish({ finished }) {
        if (finished) release()
        // The client has gone, and the handler may still be at work: the lease runs out by itself.
        else held.lease.lapse()
      },
    }
  }
  return { name: 'exclusive', handle }
}

const locked = (x: Exchange, waitMs: number): ReturnType<typeof problemReply> => {
  const seconds = Math.max(1, Math.ceil(waitMs / 1000))
  const detail = `Another request is at work on this resource. Try again in ${seconds} s at the latest.`
  const reply = problemReply({ title: 'Locked', status: 423, detail }, x)
  return { ...reply, headers: { ...reply.headers, 'Retry-After': String(seconds) } }
}

const away = (x: Exchange): ReturnType<typeof problemReply> => {
  const detail = 'The resource could not be locked, so nothing was done. Try again shortly.'
  const reply = problemReply({ title: 'Service Unavailable', status: 503, detail }, x)
  return { ...reply, headers: { ...reply.headers, 'Retry-After': '2' } }
}
