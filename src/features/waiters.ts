/** Callers that wait for a lease of another holder. A message wakes them; a poll covers lost messages. */
import { RELEASED } from './lease.ts'
import type { Store } from '../store/store.ts'

/** Result of one attempt: what was acquired, and whether more of it is free; or a refusal. */
export type AcquireAttempt<Acquired> = { acquired: Acquired; more: boolean } | AcquireRefused
export interface AcquireRefused {
  acquired?: undefined
  /** Time until a lease can end by itself, in ms. */
  waitMs: number
  /** Time for which the present holder has had it, in ms, where it is known. */
  heldMs?: number | undefined
  /** Number of permits, all held, where there can be several. */
  permits?: number | undefined
}

export interface WaiterOptions {
  /** Longest wait, in ms. With 0 there is one attempt. */
  wait: number
  /** Ends the wait with its reason. */
  signal: AbortSignal | undefined
  /** True if Redis keeps the order of waiters. Each then asks for itself; otherwise one asks for its process. */
  fair: boolean
}

/** Lifetime of a place in a fair queue, in ms. Each attempt renews it. */
export const QUEUE_PLACE_TTL = 6000

/** Longest pause between polls, in ms. In a fair queue two attempts in a row may be lost. */
const LONGEST = { fair: QUEUE_PLACE_TTL / 3, unfair: 1000 }
/** First pause between polls, in ms. */
const SHORTEST = 100

class Waiter {
  readonly owner: string
  /** Another caller of this process has just acquired the last lease: wait for a message before the next attempt. */
  holdOff = false
  #isWoken = false
  #resolve: (() => void) | undefined

  constructor(owner: string) {
    this.owner = owner
  }

  wake(): void {
    this.#isWoken = true
    this.#resolve?.()
  }

  /** Resolves when `wake` is called, or after `ms`. */
  async sleep(store: Store, ms?: number): Promise<void> {
    if (!this.#isWoken) {
      const timer = new AbortController()
      await new Promise<void>((resolve) => {
        this.#resolve = resolve
        if (ms !== undefined) store.sleep(ms, timer.signal, true).then(resolve, () => {})
      })
      timer.abort(RELEASED)
    }
    this.#isWoken = false
    this.#resolve = undefined
  }
}

/** The waiters of one channel. */
interface Queue {
  /** In order of arrival. Only the first one asks Redis. */
  local: Waiter[]
  /** By owner. Redis keeps their order. */
  fair: Map<string, Waiter>
  /** Ends the subscription. Undefined until a caller has to wait. */
  unsubscribe: (() => void) | undefined
}

/** The waiters of this process, by channel. */
export class Waiters {
  readonly #store: Store
  readonly #prefix: string
  readonly #queues = new Map<string, Queue>()

  /** @param prefix start of the owners that use these waiters */
  constructor(store: Store, prefix: string) {
    this.#store = store
    this.#prefix = prefix
  }

  /**
   * Calls `attempt` until it succeeds or `wait` is over.
   * @returns the result of the last attempt
   * @throws the signal's reason, and what `attempt` throws
   */
  async acquire<Acquired>(
    channel: string,
    owner: string,
    { wait, signal, fair }: WaiterOptions,
    attempt: () => Promise<AcquireAttempt<Acquired>>,
  ): Promise<AcquireAttempt<Acquired>> {
    signal?.throwIfAborted()
    if (wait <= 0) return await attempt()
    const queue = this.#queueOf(channel)
    const waiter = new Waiter(owner)
    const timer = new AbortController()
    let isOver = false
    let isSubscribed = false
    const end = (): void => {
      isOver = true
      waiter.wake()
    }
    /** Most callers succeed at once. Only those that wait pay for a subscription. */
    const subscribe = (): void => {
      isSubscribed = true
      queue.unsubscribe ??= this.#store.subscribe(channel, (text) => this.#onMessage(queue, text))
      this.#store.sleep(wait, timer.signal).then(end, () => {})
      signal?.addEventListener('abort', end)
    }
    if (fair) queue.fair.set(owner, waiter)
    else queue.local.push(waiter)
    let refused: AcquireRefused = { waitMs: 0 }
    let wasLast = false
    try {
      for (let polls = 0; ;) {
        const isFirst = fair || queue.local[0] === waiter
        if (isFirst && !waiter.holdOff) {
          const result = await attempt()
          if ('more' in result) {
            wasLast = !result.more
            return result
          }
          refused = result
        }
        waiter.holdOff = false
        signal?.throwIfAborted()
        if (!isSubscribed) subscribe()
        const pause = isFirst ? pauseOf(refused.waitMs, polls++, fair) : undefined
        if (!isOver) await waiter.sleep(this.#store, pause)
        signal?.throwIfAborted()
        if (isOver) return refused
      }
    } finally {
      timer.abort(RELEASED)
      signal?.removeEventListener('abort', end)
      this.#leave(channel, queue, waiter, wasLast)
    }
  }

  /** Wakes the first local waiter: this process has released a lease. */
  wake(channel: string): void {
    this.#queues.get(channel)?.local[0]?.wake()
  }

  #queueOf(channel: string): Queue {
    const known = this.#queues.get(channel)
    if (known) return known
    const queue: Queue = { local: [], fair: new Map(), unsubscribe: undefined }
    this.#queues.set(channel, queue)
    return queue
  }

  /** @param text '*', or the owner that released and, after '>', the next one in the fair queue */
  #onMessage(queue: Queue, text: string): void {
    const [releaser, next] = text.split('>') as [string, string | undefined]
    if (text === '*') for (const waiter of queue.fair.values()) waiter.wake()
    queue.fair.get(next ?? '')?.wake()
    // wake() has notified this process of its own releases.
    if (!releaser.startsWith(this.#prefix)) queue.local[0]?.wake()
  }

  #leave(channel: string, queue: Queue, waiter: Waiter, wasLast: boolean): void {
    queue.fair.delete(waiter.owner)
    const position = queue.local.indexOf(waiter)
    if (position >= 0) queue.local.splice(position, 1)
    const [next] = queue.local
    if (position === 0 && next) {
      next.holdOff = wasLast
      next.wake()
    }
    if (queue.local.length > 0 || queue.fair.size > 0) return
    queue.unsubscribe?.()
    this.#queues.delete(channel)
  }
}

/** Returns the pause before the next poll: short at first, jittered, and not much past the end of a lease. */
function pauseOf(waitMs: number, polls: number, fair: boolean): number {
  const longest = fair ? LONGEST.fair : LONGEST.unfair
  const pause = Math.min(SHORTEST * 2 ** Math.min(polls, 10), longest) * (0.5 + Math.random() / 2)
  return waitMs > 0 ? Math.min(pause, waitMs + 1 + Math.random() * 10) : pause
}
