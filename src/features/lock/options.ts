import type { Duration } from '../../duration.ts'
import type { Subject } from '../../store/keys.ts'

/** Options of `tp.lock()` and `tp.lock.acquire()`. */
export interface LockOptions {
  /** How long the lock outlives its holder's crash: the lease, renewed at a third of it. At least 50 ms. Default `'30s'`. */
  lease?: Duration
  /** How long to wait for a lock that somebody has. Default 0: not at all. */
  wait?: Duration
  /** Ends the wait with its reason. */
  signal?: AbortSignal
  /** Serve those who wait in order of arrival, over all processes; everybody who takes this lock must say so. Default false. */
  fair?: boolean
  /** How many replicas must have the lock before it counts: a failover cannot lose it then. Not on a Cluster. Default 0. */
  waitReplicas?: number
  /** Whose lock, where the application has tenants. */
  tenant?: string
}

/** A lock that is held. It is renewed until `release()`. */
export interface HeldLock extends AsyncDisposable {
  /** Greater than the token of everybody who had this lock before: for the resource to check. Of several names, the first one's in sorted order. */
  readonly token: number
  /** The tokens of several names. */
  readonly tokens: Readonly<Record<string, number>>
  /** Fires when the lease is lost: renewal failed until its end, or Redis forgot it. */
  readonly signal: AbortSignal
  /** Is the lease lost? Measured now, on a clock that never jumps. */
  readonly lost: boolean
  /** Call it before an effect: after a blocked event loop it knows what the signal cannot. @throws TP_LOCK_LOST */
  throwIfLost(): void
  /** Give the lock back. True if it was still ours. Harmless when repeated; while Redis is away it is tried again until the lease ends. */
  release(): Promise<boolean>
}

/** What `tp.lock()` hands to the work, besides the signal. */
export type LockHolding = Pick<HeldLock, 'token' | 'tokens' | 'lost' | 'throwIfLost'>

/** `tp.lock()`: one holder at a time, over all processes. */
export interface LockFunction {
  /**
   * Do some work while holding a lock, or several (taken in sorted order, so that nobody deadlocks).
   * @throws TP_LOCKED when somebody else has it for longer than `wait`
   * @throws TP_LOCK_LOST when the lease was lost before the work was done, whatever it came to
   * @throws TP_UNAVAILABLE when Redis cannot answer: the work is not begun
   */
  <Result>(
    names: string | readonly string[],
    options: LockOptions,
    work: (signal: AbortSignal, holding: LockHolding) => Promise<Result> | Result,
  ): Promise<Result>
  /**
   * Take a lock, or several, and hold it until `release()`.
   * @throws TP_LOCKED, TP_UNAVAILABLE
   */
  acquire(names: string | readonly string[], options?: LockOptions): Promise<HeldLock>
}

/** What `tp.once()` came to. */
export type OnceResult<Result> = { ran: true; value: Result } | { ran: false; value?: undefined }

/** `tp.once()`. */
export interface OnceOptions {
  /** How long a run outlives its process's crash before another may begin. Default `'30s'`. */
  lease?: Duration
  /** Whose run, where the application has tenants. */
  tenant?: string
}

/** Options of `tp.exclusive()`. */
export interface ExclusiveOptions<Native> {
  /** The resource: the lock's name, which `tp.lock()` takes as well; or a function of the request. */
  key:
    | string
    | ((
        native: Native,
      ) => Subject | number | undefined | null | Promise<Subject | number | undefined | null>)
  /** The lease, renewed while the handler runs. Default `'30s'`. */
  lease?: Duration
  /** How long a request waits for its turn. Default 0: it is answered 423 at once. */
  wait?: Duration
  /** Serve those who wait in order of arrival, over all processes. Default false. */
  fair?: boolean
  /** When Redis cannot answer: `'closed'` answers 503, `'open'` lets requests pass side by side. Default `'closed'`. */
  fail?: 'closed' | 'open'
  /** Names the mount in events. Default: the key, or `'exclusive'`. */
  name?: string
}
