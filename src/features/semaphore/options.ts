import type { Duration } from '../../duration.ts'
import type { Subject } from '../../store/keys.ts'

/** Options of `tp.semaphore()`. */
export interface SemaphoreOptions {
  /** How many may be inside at once, over all processes. A function is asked each time: a lower limit holds for whoever comes next. */
  limit: number | (() => number | Promise<number>)
  /** How long a place outlives its holder's crash: the lease, renewed at a third of it. At least 50 ms. Default `'30s'`. */
  lease?: Duration
  /** Serve those who wait in order of arrival, over all processes. Default false. */
  fair?: boolean
  /** Whose semaphore, where the application has tenants. */
  tenant?: string
}

/** How a place is asked for. */
export interface PermitOptions {
  /** How long to wait for a place. Default 0: not at all. */
  wait?: Duration
  /** Ends the wait with its reason. */
  signal?: AbortSignal
}

/** A place inside. It is renewed until `release()`. */
export interface Permit extends AsyncDisposable {
  /** Fires when the lease is lost. */
  readonly signal: AbortSignal
  /** Is the lease lost? Measured now, on a clock that never jumps. */
  readonly lost: boolean
  /** Give it back. True if it was still ours. Harmless when repeated. */
  release(): Promise<boolean>
}

/** A limited number of holders at a time, over all processes. */
export interface Semaphore {
  /**
   * Take a place and hold it until `release()`.
   * @throws TP_SEMAPHORE_FULL when there is none within `wait`
   * @throws TP_UNAVAILABLE when Redis cannot answer
   */
  acquire(options?: PermitOptions): Promise<Permit>
  /**
   * Do some work inside.
   * @throws TP_SEMAPHORE_FULL, TP_UNAVAILABLE: the work is not begun
   * @throws TP_LOCK_LOST when the lease was lost before the work was done
   */
  using<Result>(
    options: PermitOptions,
    work: (signal: AbortSignal) => Promise<Result> | Result,
  ): Promise<Result>
  using<Result>(work: (signal: AbortSignal) => Promise<Result> | Result): Promise<Result>
  /** How many are inside, over all processes. @throws TP_UNAVAILABLE */
  count(): Promise<number>
}

/** Options of `tp.concurrency()`. */
export interface ConcurrencyOptions<Native> {
  /** How many requests may be in flight at once; a value or a function of the request. */
  limit: number | ((native: Native) => number | Promise<number>)
  /** What they are counted by. Default: all requests of the mount together. */
  key?: (
    native: Native,
  ) => Subject | number | undefined | null | Promise<Subject | number | undefined | null>
  /** How long a crashed process keeps its places. Default `'30s'`. */
  lease?: Duration
  /** How long a request waits for a place before it is refused. Default 0. */
  wait?: Duration
  /** Serve those who wait in order of arrival, over all processes. Default false. */
  fair?: boolean
  /** The status of a refusal. Default: 429 with a `key`, whose owner is to slow down, and 503 without. */
  status?: 429 | 503
  /** When Redis cannot answer: `'closed'` answers 503, `'open'` lets requests pass uncounted. Default `'closed'`. */
  fail?: 'closed' | 'open'
  /** Sets this mount's requests apart from another's. Default `'default'`. */
  name?: string
}
