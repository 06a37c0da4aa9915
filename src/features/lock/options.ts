import type { Duration } from '../../duration.ts'
import type { ReplyFunction } from '../../http/refusal.ts'
import type { Subject } from '../../store/keys.ts'
import type { KeyValue } from '../../store/subject.ts'

/** Options of `tp.lock()` and `tp.lock.acquire()`. */
export interface LockOptions {
  /**
   * How long the lock outlives a crash of its holder. It is renewed at a third of this time. At
   * least 50 ms.
   * @default '30s'
   */
  lease?: Duration
  /**
   * Longest wait for a lock that another holder has.
   * @default 0
   */
  wait?: Duration
  /**
   * Time after which the lease is not renewed any more: a limit for work that never ends.
   * @default no limit
   */
  maxLease?: Duration
  /** Ends the wait with its reason. @default none */
  signal?: AbortSignal
  /**
   * Order of arrival for all waiters of all processes. Every caller of this lock must use the same
   * value.
   * @default false
   */
  fair?: boolean
  /**
   * Number of replicas that must have the lock before it counts. It narrows the gap in which a
   * failover loses the lock. Not available on a Cluster.
   * @default 0
   */
  waitReplicas?: number
  /** Tenant that the lock belongs to. Required if the application has tenants. */
  tenant?: string
}

/** What a lock and several locks have in common. */
interface Held extends AsyncDisposable {
  /** Fires when the lease is lost. Its reason is the error TP_LOCK_LOST. */
  readonly signal: AbortSignal
  /** True if the lease is lost. Measured at the time of the call, on a clock that never jumps. */
  readonly lost: boolean
  /** Call it before an effect. A blocked event loop cannot fire `signal`. @throws TP_LOCK_LOST */
  throwIfLost(): void
  /**
   * Releases it. Resolves with true if it was still held. Harmless when repeated. While Redis is
   * away, the release is repeated in the background until the lease ends.
   */
  release(): Promise<boolean>
}

/** A lock that is held. It is renewed until `release()`. */
export interface HeldLock extends Held {
  /** Fencing token: greater than those of all earlier holders of this lock. */
  readonly token: number
}

/** Several locks that are held. They are renewed until `release()`. */
export interface HeldLocks extends Held {
  /** Fencing tokens, in the order of the names. */
  readonly tokens: readonly number[]
}

/** What `tp.lock()` passes to the work, besides the signal. */
export type LockHolding = Pick<HeldLock, 'token' | 'lost' | 'throwIfLost'>

/** What `tp.lock.all()` passes to the work, besides the signal. */
export type LocksHolding = Pick<HeldLocks, 'tokens' | 'lost' | 'throwIfLost'>

/** `tp.lock()`: one holder at a time, over all processes. */
export interface LockFunction {
  /**
   * Does work while holding a lock.
   *
   * @param name a string, or a list of strings as one compound name
   * @throws TP_LOCKED if another holder has it for longer than `wait`
   * @throws TP_LOCK_LOST if the lease was lost before the work was done, whatever the work did
   * @throws TP_UNAVAILABLE if Redis cannot answer: the work is not started
   * @example
   * await tp.lock(['cart', cartId], { wait: '5s' }, async (signal, { token }) => checkout(cartId, token, signal))
   */
  <Result>(
    name: Subject,
    options: LockOptions,
    work: (signal: AbortSignal, holding: LockHolding) => Promise<Result> | Result,
  ): Promise<Result>
  /**
   * Acquires a lock and holds it until `release()`.
   *
   * @throws TP_LOCKED, TP_UNAVAILABLE
   * @example
   * await using lock = await tp.lock.acquire('report')
   */
  acquire(name: Subject, options?: LockOptions): Promise<HeldLock>
  /** Several locks at once, all or none. */
  readonly all: AllLocksFunction
}

/** `tp.lock.all()`. All processes take the locks in the same order, so that callers cannot deadlock. */
export interface AllLocksFunction {
  /**
   * Does work while holding several locks.
   *
   * @param names each a string, or a list of strings as one compound name
   * @throws TP_LOCKED, TP_LOCK_LOST, TP_UNAVAILABLE as `tp.lock()`
   * @example
   * await tp.lock.all([['account', from], ['account', to]], { wait: '5s' }, () => transfer(from, to))
   */
  <Result>(
    names: readonly Subject[],
    options: LockOptions,
    work: (signal: AbortSignal, holding: LocksHolding) => Promise<Result> | Result,
  ): Promise<Result>
  /** Acquires several locks and holds them until `release()`. @throws TP_LOCKED, TP_UNAVAILABLE */
  acquire(names: readonly Subject[], options?: LockOptions): Promise<HeldLocks>
}

/** The holder of a lock, in any process. */
export interface LockHolder {
  /** Name of its machine or container. 'unknown' if another program has written the lock. */
  host: string
  /** Its process ID there. */
  pid: number
  /** Fencing token. */
  token: number
  /** Time of the acquisition, by Redis's clock. */
  since: Date
  /** End of the lease unless it is renewed, by Redis's clock. */
  expires: Date
}

/** Which lock to release, and whose. */
export type ReleaseOptions = {
  /** Tenant that the lock belongs to. Required if the application has tenants. */
  tenant?: string
} & (
  | {
      /** Fencing token of the holder. If another holder has the lock by now, it is not released. */
      token: number
      force?: undefined
    }
  | {
      /** Releases the lock for any holder. */
      force: true
      token?: undefined
    }
)

/** `tp.locks`: locks of all processes, including `tp.exclusive()`. */
export interface LockControl {
  /**
   * Resolves with the holder of a lock; undefined if it is free.
   * @throws TP_KEY, TP_UNAVAILABLE
   * @example
   * const { host, pid, since } = await tp.locks.holder('report') ?? {}
   */
  holder(name: Subject, options?: { tenant?: string }): Promise<LockHolder | undefined>
  /**
   * Releases a lock that another process holds. Its holder learns it with its next renewal, at the
   * latest after a third of its lease: then its signal fires. Until then it may still work, so the
   * resource should check the fencing token.
   *
   * @returns true if it was held
   * @throws TP_OPTION unless the options have a `token` or `force: true`
   * @throws TP_KEY, TP_UNAVAILABLE
   * @example
   * await tp.locks.release('report', { token })
   */
  release(name: Subject, options: ReleaseOptions): Promise<boolean>
}

/** What of locks exists outside a request. */
export interface LockScope {
  /** One holder at a time, over all processes. */
  readonly lock: LockFunction
  /** The holders of locks, in all processes. */
  readonly locks: LockControl
  /**
   * Does work unless any process did it within the last `ttl`. Callers during the run get
   * `{ ran: false }` at once. Work that fails, or whose process dies, may be done again.
   *
   * @param ttl time from the end of the run until the next one
   * @throws TP_LOCK_LOST if the lease was lost before the work was done, whatever the work did
   * @throws TP_UNAVAILABLE if Redis cannot answer: the work is not started
   * @example
   * await tp.once('report:2026-01-31', '1d', () => sendReport())
   */
  once<Result>(
    key: Subject,
    ttl: Duration,
    work: (signal: AbortSignal) => Promise<Result> | Result,
    options?: OnceOptions,
  ): Promise<OnceResult<Result>>
}

/** Result of `tp.once()`. */
export type OnceResult<Result> =
  | {
      /** True: this call has run the work. */
      ran: true
      /** What the work returned. */
      value: Result
    }
  | {
      /** False: the work has run before, or runs elsewhere now. */
      ran: false
      /** Never set: the result of another run is not stored. */
      value?: undefined
    }

/** Options of `tp.once()`. */
export interface OnceOptions {
  /**
   * How long a run outlives a crash of its process before another may begin.
   * @default '30s'
   */
  lease?: Duration
  /** Tenant that the run belongs to. Required if the application has tenants. */
  tenant?: string
}

/** Options of `tp.exclusive()`. */
export interface ExclusiveOptions<Native> {
  /** Name of the lock, as in `tp.lock()`; or a function of the request that returns it. */
  key: string | ((native: Native) => KeyValue | Promise<KeyValue>)
  /**
   * How long the lock outlives a crash of its process. It is renewed while the handler runs.
   * @default '30s'
   */
  lease?: Duration
  /**
   * Time after which the lease is not renewed any more: a limit for handlers that never end.
   * @default ten leases
   */
  maxLease?: Duration
  /**
   * Longest wait for a lock that another request has. With 0 the request is refused at once: 423.
   * @default 0
   */
  wait?: Duration
  /**
   * Order of arrival for all waiting requests of all processes.
   * @default false
   */
  fair?: boolean
  /**
   * What happens while Redis cannot answer. `'closed'`: 503. `'open'`: requests pass without a lock.
   * @default 'closed'
   */
  fail?: 'closed' | 'open'
  /**
   * Phrases refusals. Returns undefined for the default reply, problem+json (RFC 9457).
   * @default none
   */
  reply?: ReplyFunction<Native>
  /**
   * Name of the mount in events.
   * @default the key, or 'exclusive'
   */
  name?: string
}
