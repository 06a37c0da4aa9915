/** Something that is held for a time, and renewed while it is needed. */
import { isUnavailable } from '../errors.ts'
import type { EventBus } from '../events.ts'
import type { Store } from '../store/store.ts'

/** Why a lease is over although its holder did not end it. */
export type LeaseLoss =
  /** It could not be renewed in time: Redis was away, or this process could not run. */
  | 'expired'
  /** Redis knows nothing of it any more, or somebody else has it. */
  | 'gone'

/** Wakes many at the price of few timers: those who wait equally long are woken by one. */
export class SharedTimers {
  readonly store: Store
  /** Who is to be woken, by how long they wait: each list is in order of time. */
  readonly #lists = new Map<number, Set<Alarm>>()

  constructor(store: Store) {
    this.store = store
  }

  /** Call `ring` in `ms`. Does not keep the process alive. Gives the function that prevents it. */
  set(ms: number, ring: () => void): () => void {
    const alarm: Alarm = { due: this.store.monotonic() + ms, ring }
    const known = this.#lists.get(ms)
    const list = known ?? new Set()
    list.add(alarm)
    if (!known) {
      this.#lists.set(ms, list)
      this.#sleep(ms, list, ms)
    }
    return () => list.delete(alarm)
  }

  #sleep(ms: number, list: Set<Alarm>, pause: number): void {
    this.store.sleep(Math.max(1, pause), undefined, true).then(
      () => this.#wake(ms, list),
      () => {},
    )
  }

  #wake(ms: number, list: Set<Alarm>): void {
    const now = this.store.monotonic()
    for (const alarm of list) {
      if (alarm.due > now) return this.#sleep(ms, list, alarm.due - now)
      list.delete(alarm)
      alarm.ring()
    }
    this.#lists.delete(ms)
  }
}

interface Alarm {
  /** By `store.steady()`. */
  due: number
  ring(): void
}

export interface LeaseOptions {
  alarms: SharedTimers
  /** How long it lasts from each renewal, in ms. */
  ttl: number
  /** When it was asked for, by `store.steady()`: it began no earlier in Redis. */
  since: number
  /** Asks Redis for another `ttl`; false when there is nothing left to renew. */
  renew(): Promise<boolean>
  /** Is told once, before the signal fires. */
  lost(loss: LeaseLoss): void
  /** Milliseconds after which it is renewed no more. Default: never. */
  maxLease?: number
}

/** Without a reason each abort makes a DOMException with its stack: 20 us. */
export const RELEASED: Error = new Error('no longer needed')

/** How many renewals fit into a lease. */
const SHARE = 3
/** How soon a renewal that failed is tried again: a tenth of the lease. */
const AGAIN = 10

/**
 * A lease is renewed when a third of it is over. When it may have ended is measured here, on a clock
 * that never jumps and from before it was asked for: it is over for its holder before it is in Redis.
 */
export class Lease {
  readonly #options: LeaseOptions
  readonly #store: Store
  readonly #began: number
  #cancel: () => void
  #abort: AbortController | undefined
  #until: number
  #loss: Error | undefined
  #isOver = false
  #isLapsing = false

  constructor(options: LeaseOptions) {
    const { alarms, since, ttl } = options
    this.#options = options
    this.#store = alarms.store
    this.#began = since
    this.#until = since + ttl
    this.#cancel = alarms.set(ttl / SHARE, this.#wake)
  }

  /** Fires when the lease is lost. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.#loss) this.#abort.abort(this.#loss)
    return this.#abort.signal
  }

  /** Is it lost? Measured now: a signal cannot fire while the event loop is blocked. */
  get isLost(): boolean {
    if (!this.#isOver && this.#store.monotonic() >= this.#until) this.#lose('expired')
    return this.#loss !== undefined
  }

  /** Milliseconds until it may be over. */
  get left(): number {
    return this.#until - this.#store.monotonic()
  }

  /** Renew it no more, and let it run out: nobody knows whether its holder is still there. */
  lapse(): void {
    this.#isLapsing = true
  }

  /** Renew it no more: it is given back. */
  end(): void {
    this.#isOver = true
    this.#cancel()
  }

  readonly #wake = (): void => void this.#keep()

  #sleep(ms: number): void {
    this.#cancel = this.#options.alarms.set(Math.max(1, ms), this.#wake)
  }

  async #keep(): Promise<void> {
    const { ttl, maxLease = Infinity } = this.#options
    if (this.#isOver || this.isLost) return
    const sent = this.#store.monotonic()
    if (this.#isLapsing || sent - this.#began >= maxLease) return this.#sleep(this.left)
    const renewed = await this.#renew()
    if (this.#isOver) return
    if (renewed === false) return this.#lose('gone')
    if (renewed) this.#until = sent + ttl
    if (this.isLost) return
    this.#sleep(renewed ? ttl / SHARE : Math.min(ttl / AGAIN, this.left))
  }

  /** Undefined when Redis could not say, or not before the lease may be over. */
  async #renew(): Promise<boolean | undefined> {
    const late = new AbortController()
    try {
      return await Promise.race([
        this.#options.renew(),
        this.#store.sleep(Math.max(1, this.left), late.signal, true).then(() => undefined),
      ])
    } catch {
      return undefined
    } finally {
      late.abort(RELEASED)
    }
  }

  #lose(loss: LeaseLoss): void {
    if (this.#loss) return
    const why = loss === 'gone' ? 'it is gone from Redis' : 'it could not be renewed in time'
    this.#loss = new Error(`The lease is lost: ${why}.`)
    this.end()
    this.#options.lost(loss)
    this.#abort?.abort(this.#loss)
  }
}

export interface RetryWriteOptions {
  store: Store
  events: EventBus
  /** Names the feature and the mount in events. */
  feature: string
  name: string
  /** When to give up, by `store.steady()`. */
  until: number
  /** Ends the attempts. */
  signal?: AbortSignal
}

/** The first pause between attempts, in ms, and the maxLease. */
const PAUSES = [50, 1000] as const

/**
 * Try a write again and again until the store takes it: nobody waits for it, and nothing is thrown.
 * Resolves with its reply, or undefined when it was given up.
 */
export async function retryWrite<Result>(
  write: () => Promise<Result>,
  { store, events, feature, name, until, signal }: RetryWriteOptions,
): Promise<Result | undefined> {
  let [pause] = PAUSES as readonly [number, number]
  for (;;) {
    try {
      return await write()
    } catch (error) {
      const isClosed = isUnavailable(error) && error.reason === 'closed'
      if (
        !isUnavailable(error) ||
        isClosed ||
        signal?.aborted ||
        store.monotonic() + pause >= until
      ) {
        events.emit('error', { feature, name, error })
        return undefined
      }
    }
    await store.sleep(pause * (0.5 + Math.random() / 2), signal, true).catch(() => {})
    pause = Math.min(pause * 2, PAUSES[1])
  }
}
