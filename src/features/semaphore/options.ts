import type { Duration } from '../../duration.ts'
import type { ReplyFunction } from '../../http/refusal.ts'
import type { Subject } from '../../store/keys.ts'
import type { KeyValue } from '../../store/subject.ts'

/** Options of `tp.semaphore()`. */
export interface SemaphoreOptions {
  /**
   * Number of permits, over all processes. A function is called for each attempt. A lower limit
   * applies to the next attempts; permits that are held stay valid.
   */
  limit: number | (() => number | Promise<number>)
  /**
   * How long a permit outlives a crash of its holder. It is renewed at a third of this time. At
   * least 50 ms.
   * @default '30s'
   */
  lease?: Duration
  /**
   * Time after which a permit is not renewed any more: a limit for work that never ends.
   * @default no limit
   */
  maxLease?: Duration
  /**
   * Order of arrival for all waiters of all processes.
   * @default false
   */
  fair?: boolean
  /** Tenant that the semaphore belongs to. Required if the application has tenants. */
  tenant?: string
}

/** How a permit is asked for. */
export interface PermitOptions {
  /**
   * Longest wait for a permit.
   * @default 0
   */
  wait?: Duration
  /** Ends the wait with its reason. @default none */
  signal?: AbortSignal
}

/** A permit that is held. It is renewed until `release()`. */
export interface Permit extends AsyncDisposable {
  /** Fires when the lease is lost. Its reason is the error TP_LOCK_LOST. */
  readonly signal: AbortSignal
  /** True if the lease is lost. Measured at the time of the call, on a clock that never jumps. */
  readonly lost: boolean
  /** Releases it. Resolves with true if it was still held. Harmless when repeated. */
  release(): Promise<boolean>
}

/** The holder of a permit, in any process. */
export interface PermitHolder {
  /** Name of its machine or container. 'unknown' if another program has written the permit. */
  host: string
  /** Its process ID there. */
  pid: number
  /** Time of the acquisition, by Redis's clock. */
  since: Date
  /** End of the lease unless it is renewed, by Redis's clock. */
  expires: Date
}

/** A limited number of holders at a time, over all processes. */
export interface Semaphore {
  /**
   * Acquires a permit and holds it until `release()`.
   * @throws TP_SEMAPHORE_FULL if none is free within `wait`
   * @throws TP_UNAVAILABLE if Redis cannot answer
   */
  acquire(options?: PermitOptions): Promise<Permit>
  /**
   * Does work while holding a permit.
   * @throws TP_SEMAPHORE_FULL, TP_UNAVAILABLE: the work is not started
   * @throws TP_LOCK_LOST if the lease was lost before the work was done, whatever the work did
   * @example
   * await videos.using({ wait: '5s' }, (signal) => encode(file, { signal }))
   */
  using<Result>(
    options: PermitOptions,
    work: (signal: AbortSignal) => Promise<Result> | Result,
  ): Promise<Result>
  using<Result>(work: (signal: AbortSignal) => Promise<Result> | Result): Promise<Result>
  /** Resolves with the number of permits that are held, over all processes. @throws TP_UNAVAILABLE */
  count(): Promise<number>
  /**
   * Resolves with the holders of permits, over all processes: at most 1,000, those whose leases end
   * first.
   * @throws TP_UNAVAILABLE
   */
  holders(): Promise<PermitHolder[]>
}

/** What of semaphores exists outside a request. */
export interface SemaphoreScope {
  /**
   * Returns a semaphore: at most `limit` holders at a time, over all processes.
   *
   * @param name a string, or a list of strings as one compound name
   * @throws TP_OPTION for an option that cannot be used
   * @example
   * const videos = tp.semaphore('videos', { limit: 10 })
   */
  semaphore(name: Subject, options: SemaphoreOptions): Semaphore
}

/** Options of `tp.concurrency()`. */
export interface ConcurrencyOptions<Native> {
  /** Number of requests in flight at a time; a value or a function of the request. */
  limit: number | ((native: Native) => number | Promise<number>)
  /**
   * Returns what requests are counted by, for example the user.
   * @default all requests of the mount together
   */
  key?: (native: Native) => KeyValue | Promise<KeyValue>
  /**
   * How long a permit outlives a crash of its process. It is renewed while the request is in flight.
   * @default '30s'
   */
  lease?: Duration
  /**
   * Time after which a permit is not renewed any more. Set it above your longest download or stream.
   * @default ten leases
   */
  maxLease?: Duration
  /**
   * Longest wait of a request for a permit. With 0 it is refused at once.
   * @default 0
   */
  wait?: Duration
  /**
   * Order of arrival for all waiting requests of all processes.
   * @default false
   */
  fair?: boolean
  /**
   * Status of a refusal.
   * @default 429 with a `key`, 503 without
   */
  status?: 429 | 503
  /**
   * What happens while Redis cannot answer. `'closed'`: 503. `'open'`: requests pass uncounted.
   * @default 'closed'
   */
  fail?: 'closed' | 'open'
  /**
   * Phrases refusals. Returns undefined for the default reply, problem+json (RFC 9457).
   * @default none
   */
  reply?: ReplyFunction<Native>
  /**
   * Name of the mount in keys and events. Mounts with the same name share their permits.
   * @default derived from `limit` and `key`
   */
  name?: string
}
