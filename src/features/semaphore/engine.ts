/** Semaphores without HTTP. */
import { randomBytes } from 'node:crypto'
import { isUnavailable } from '../../errors.ts'
import type { EventMap } from '../../events.ts'
import type { RequestBudget } from '../../request-budget.ts'
import type { ExtensionContext } from '../../extension.ts'
import { SharedTimers, Lease, retryWrite } from '../lease.ts'
import { QUEUE_PLACE_TTL, Waiters, type AcquireAttempt } from '../waiters.ts'
import { count } from './count.ts'
import { enter } from './enter.ts'
import { extend } from './extend.ts'
import { leave } from './leave.ts'

/** How a place is asked for; times in ms. */
export interface Asking {
  /** As it stands in events. */
  name: string
  /** How many places there are: asked with each attempt, so that it may change meanwhile. */
  limit(): number | Promise<number>
  ttl: number
  wait: number
  fair: boolean
  signal?: AbortSignal | undefined
  budget?: RequestBudget | undefined
}

/** A place that is held: its lease is renewed until it is given back or lost. */
export interface Inside {
  readonly lease: Lease
  /** True if it was still ours. Harmless when repeated. */
  release(): Promise<boolean>
}

export interface Full {
  lease?: undefined
  /** When the earliest lease ends, in ms from now. */
  waitMs: number
}

export class SemaphoreEngine {
  readonly #context: ExtensionContext
  /** The first part of keys. */
  readonly #space: string
  readonly #process = randomBytes(12).toString('base64url')
  readonly #turns: Waiters
  readonly #alarms: SharedTimers
  readonly #inside = new Set<Inside>()
  #count = 0

  constructor(context: ExtensionContext, space: string) {
    this.#context = context
    this.#space = space
    this.#turns = new Waiters(context.store, `${this.#process}.`)
    this.#alarms = new SharedTimers(context.store)
  }

  /**
   * Take a place, waiting for one if that is asked for.
   * @throws TP_UNAVAILABLE when Redis cannot answer: nobody may think that it is inside
   */
  async enter(tag: string, asking: Asking): Promise<Inside | Full> {
    const { store, keys } = this.#context
    const owner = `${this.#process}.${(++this.#count).toString(36)}`
    const channel = keys.channel(this.#space, tag)
    const names = this.#namesOf(tag)
    const { ttl, fair, budget, name } = asking
    const began = store.monotonic()

    const attempt = async (): Promise<AcquireAttempt<Inside>> => {
      const limit = await asking.limit()
      const since = store.monotonic()
      const [ok, value] = await store.run(
        enter,
        names,
        [owner, limit, ttl, fair ? QUEUE_PLACE_TTL : 0],
        budget,
      )
      if (ok === 0) return { waitMs: value }
      return { got: this.#hold(tag, owner, since, asking), more: value < limit }
    }
    const goAway = (): void =>
      this.#inBackground(() => store.run(leave, names, [owner, channel]), name, ttl)
    let outcome: AcquireAttempt<Inside>
    try {
      outcome = await this.#turns.acquire(
        channel,
        owner,
        { signal: asking.signal, ...asking },
        attempt,
      )
    } catch (error) {
      // The reply may have been lost, not the place.
      if (fair || (isUnavailable(error) && error.uncertain)) goAway()
      throw error
    }
    const what = outcome.got ? 'acquired' : 'refused'
    this.#tell({ name, type: what, subject: tag, waitedMs: store.monotonic() - began })
    if (outcome.got) return outcome.got
    if (fair) goAway()
    return { waitMs: outcome.waitMs }
  }

  /** How many are inside, over all processes. @throws TP_UNAVAILABLE when Redis cannot answer */
  async count(tag: string): Promise<number> {
    return await this.#context.store.run(count, [this.#namesOf(tag)[0]], [])
  }

  /** Give back what this process holds. */
  async close(): Promise<void> {
    await Promise.all([...this.#inside].map((inside) => inside.release()))
  }

  #hold(tag: string, owner: string, since: number, { name, ttl, fair }: Asking): Inside {
    const { store, keys } = this.#context
    const names = this.#namesOf(tag)
    const channel = keys.channel(this.#space, tag)
    const lease = new Lease({
      alarms: this.#alarms,
      ttl,
      since,
      renew: async () => (await store.run(extend, [names[0]], [owner, ttl])) === 1,
      lost: () => {
        this.#inside.delete(inside)
        this.#tell({ name, type: 'lost', subject: tag, waitedMs: 0 })
      },
    })
    const write = (): Promise<number> => store.run(leave, names, [owner, channel])
    const end = async (): Promise<boolean> => {
      const wasLost = lease.isLost
      this.#inside.delete(inside)
      lease.end()
      try {
        return (await write()) === 1 && !wasLost
      } catch (error) {
        if (!isUnavailable(error)) throw error
        this.#inBackground(write, name, ttl)
        return false
      } finally {
        if (!fair) this.#turns.wake(channel)
      }
    }
    let ending: Promise<boolean> | undefined
    const inside: Inside = { lease, release: () => (ending ??= end()) }
    this.#inside.add(inside)
    return inside
  }

  #inBackground(write: () => Promise<number>, name: string, ttl: number): void {
    const { store, events } = this.#context
    void retryWrite(write, {
      store,
      events,
      feature: 'semaphore',
      name,
      until: store.monotonic() + ttl,
    })
  }

  #tell(event: Omit<EventMap['lock'], 'feature' | 'token'>): void {
    const { events } = this.#context
    if (events.hasListeners('lock'))
      events.emit('lock', { feature: 'semaphore', token: undefined, ...event })
  }

  #namesOf(tag: string): [string, string, string] {
    const { keys } = this.#context
    const of = (sub?: string): string => keys.key(this.#space, tag, sub)
    return [of(), of('line'), of('signs')]
  }
}
