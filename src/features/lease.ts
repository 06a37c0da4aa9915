/** Leases: what is held for a time, and renewed while it is needed. */
import type { TurnpikeError } from '../errors.ts'
import type { Store } from '../store/store.ts'

/** Why a lease ended although its holder did not release it. */
export type LeaseLoss =
  /** It was not renewed in time: Redis was away, or this process could not run. */
  | 'expired'
  /** Redis does not know it any more, or another owner has it. */
  | 'gone'

interface Timer {
  /** Time by `store.monotonic()`. */
  due: number
  ring(): void
}

/** Calls many functions with few timers: all that wait equally long share one. */
export class SharedTimers {
  readonly store: Store
  /** By length of the wait, in ms. Each list is in order of time. */
  readonly #lists = new Map<number, Set<Timer>>()

  constructor(store: Store) {
    this.store = store
  }

  /** Calls `ring` in `ms`. Does not keep the process alive. Returns the function that cancels the call. */
  set(ms: number, ring: () => void): () => void {
    const timer: Timer = { due: this.store.monotonic() + ms, ring }
    const known = this.#lists.get(ms)
    const list = known ?? new Set()
    list.add(timer)
    if (!known) {
      this.#lists.set(ms, list)
      this.#sleep(ms, list, ms)
    }
    return () => list.delete(timer)
  }

  #sleep(ms: number, list: Set<Timer>, pause: number): void {
    this.store.sleep(Math.max(1, pause), undefined, true).then(
      () => this.#wake(ms, list),
      () => {},
    )
  }

  #wake(ms: number, list: Set<Timer>): void {
    const now = this.store.monotonic()
    for (const timer of list) {
      if (timer.due > now) return this.#sleep(ms, list, timer.due - now)
      list.delete(timer)
      timer.ring()
    }
    this.#lists.delete(ms)
  }
}

export interface LeaseOptions {
  timers: SharedTimers
  /** Length from each renewal, in ms. */
  lease: number
  /** Time of the request for it, by `store.monotonic()`. In Redis it began no earlier. */
  since: number
  /** Asks Redis for another `lease` ms. Resolves with false if there is nothing to renew. */
  renew(): Promise<boolean>
  /** Called once, before the signal fires. Returns the error that becomes the signal's reason. */
  onLost(loss: LeaseLoss): TurnpikeError
  /** Time after which it is not renewed any more, in ms. @default Infinity */
  maxLease?: number | undefined
}

/** Passed to abort(), which otherwise creates a DOMException with a stack trace: 20 us. */
export const RELEASED: Error = new Error('no longer needed')

/** Renewals in the length of a lease. */
const RENEWALS = 3
/** Attempts in the length of a lease, while renewals fail. */
const RETRIES = 10

/**
 * A lease, renewed when a third of it is over. Its end is measured here, on a clock that never
 * jumps and from before Redis was asked. So its holder sees it end before Redis does; otherwise two
 * owners could hold it.
 */
export class Lease {
  readonly #options: LeaseOptions
  readonly #store: Store
  #cancel: () => void
  #abort: AbortController | undefined
  #until: number
  #loss: TurnpikeError | undefined
  #isOver = false
  #isLapsing = false

  constructor(options: LeaseOptions) {
    const { timers, since, lease } = options
    this.#options = options
    this.#store = timers.store
    this.#until = since + lease
    this.#cancel = timers.set(lease / RENEWALS, this.#wake)
  }

  /** Fires when the lease is lost. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.#loss) this.#abort.abort(this.#loss)
    return this.#abort.signal
  }

  /** Why the lease is lost, if it is. Measured now: a signal cannot fire in a blocked event loop. */
  get loss(): TurnpikeError | undefined {
    if (!this.#isOver && this.#store.monotonic() >= this.#until) this.#lose('expired')
    return this.#loss
  }

  get isLost(): boolean {
    return this.loss !== undefined
  }

  /** Time until it may be over, in ms. */
  get left(): number {
    return this.#until - this.#store.monotonic()
  }

  /** Stops renewing, so that the lease runs out unless it is released before. */
  lapse(): void {
    this.#isLapsing = true
  }

  /** Stops renewing: the lease is released. */
  end(): void {
    this.#isOver = true
    this.#cancel()
  }

  /** Ends the lease, and fires its signal with this reason. */
  revoke(reason: TurnpikeError): void {
    if (this.#isOver) return
    this.end()
    this.#loss = reason
    this.#abort?.abort(reason)
  }

  readonly #wake = (): void => void this.#renewOrLose()

  #sleep(ms: number): void {
    this.#cancel = this.#options.timers.set(Math.max(1, ms), this.#wake)
  }

  async #renewOrLose(): Promise<void> {
    const { lease, since, maxLease = Infinity } = this.#options
    if (this.#isOver || this.isLost) return
    const sent = this.#store.monotonic()
    if (this.#isLapsing || sent - since >= maxLease) return this.#sleep(this.left)
    const isRenewed = await this.#renew()
    if (this.#isOver) return
    if (isRenewed === false) return this.#lose('gone')
    if (isRenewed) this.#until = sent + lease
    if (this.isLost) return
    this.#sleep(isRenewed ? lease / RENEWALS : Math.min(lease / RETRIES, this.left))
  }

  /** Resolves with undefined if Redis did not answer before the lease may be over. */
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
    this.end()
    this.#loss = this.#options.onLost(loss)
    this.#abort?.abort(this.#loss)
  }
}

/** Returns the error of work whose lease was lost: the signal's reason, with what the work threw as its cause. */
export function lossWithCause(loss: TurnpikeError, cause: unknown): TurnpikeError {
  if (cause !== loss && loss.cause === undefined)
    Object.defineProperty(loss, 'cause', { value: cause, configurable: true, writable: true })
  return loss
}
