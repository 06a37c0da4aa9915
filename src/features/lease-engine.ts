/** Leases that this process holds: what locks, single runs and permits have in common. */
import { isUnavailable, StoreUnavailable, TurnpikeError } from '../errors.ts'
import type { EventMap } from '../events.ts'
import type { ExtensionContext } from '../extension.ts'
import type { RequestBudget } from '../request-budget.ts'
import { ownerPrefix } from './lease-owner.ts'
import { Lease, lossWithCause, SharedTimers, type LeaseLoss } from './lease.ts'
import { retryWrite } from './retry-write.ts'
import { WorkInProgress } from './work-in-progress.ts'
import { Waiters, type AcquireAttempt, type AcquireRefused } from './waiters.ts'

/** How a lease is asked for. Times are in ms. */
export interface LeaseRequest {
  /** Name in events and errors. */
  name: string
  lease: number
  /** Longest wait for a lease of another holder. With 0 there is one attempt. */
  wait: number
  /** True if waiters are served in order of arrival. */
  fair: boolean
  /** True if the holder's work ends by itself. Then close() waits for it. */
  isWork: boolean
  /** Time after which the lease is not renewed any more. @default Infinity */
  maxLease?: number | undefined
  signal?: AbortSignal | undefined
  budget?: RequestBudget | undefined
}

/** What the store granted. */
export interface LeaseGrant {
  /** Fencing token; 0 where there is none. */
  token: number
  /** Time of the request, by `store.monotonic()`. */
  since: number
  /** True if more leases are free under the same name. */
  more: boolean
}

/** A lease that this process holds. It is renewed until it is released or lost. */
export class HeldLease {
  readonly name: string
  /** Its owner in the store. */
  readonly owner: string
  /** Fencing token; 0 where there is none. */
  readonly token: number
  readonly lease: Lease
  readonly #end: (write?: () => Promise<number>) => Promise<boolean>
  #ending: Promise<boolean> | undefined

  constructor(
    { name, owner, token, lease }: Pick<HeldLease, 'name' | 'owner' | 'token' | 'lease'>,
    end: (write?: () => Promise<number>) => Promise<boolean>,
  ) {
    this.name = name
    this.owner = owner
    this.token = token
    this.lease = lease
    this.#end = end
  }

  /** Why it is lost, if it is. */
  get loss(): TurnpikeError | undefined {
    return this.lease.loss
  }

  /** Releases the lease. Resolves with true if it was still held. Harmless when repeated. */
  release(): Promise<boolean> {
    return (this.#ending ??= this.#end())
  }

  /** Ends the lease by another write than a release. Only the first call writes. */
  endWith(write: () => Promise<number>): Promise<boolean> {
    return (this.#ending ??= this.#end(write))
  }
}

/** Acquires, renews and releases the leases of one kind. Subclasses know how they are stored. */
export abstract class LeaseEngine<Request extends LeaseRequest> {
  protected readonly context: ExtensionContext
  /** First part of the keys. */
  protected readonly space: string
  readonly #feature: EventMap['lock']['feature']
  readonly #ownerPrefix = ownerPrefix()
  readonly #waiters: Waiters
  readonly #timers: SharedTimers
  readonly #held = new Set<HeldLease>()
  readonly #work = new WorkInProgress()
  #count = 0

  constructor(context: ExtensionContext, feature: EventMap['lock']['feature'], space: string) {
    this.context = context
    this.space = space
    this.#feature = feature
    this.#waiters = new Waiters(context.store, this.#ownerPrefix)
    this.#timers = new SharedTimers(context.store)
  }

  /** Asks the store for a lease. */
  protected abstract grant(
    tag: string,
    owner: string,
    request: Request,
  ): Promise<LeaseGrant | AcquireRefused>
  /** Asks the store for another `lease` ms. Resolves with 1, or 0 if there is nothing to renew. */
  protected abstract renew(tag: string, owner: string, lease: number): Promise<number>
  /** Releases a lease and leaves the queue. Resolves with 1 if the lease was held. */
  protected abstract release(tag: string, owner: string): Promise<number>
  /** What the lease is called in errors, for example 'lock'. */
  protected abstract readonly noun: string

  /**
   * Acquires a lease, and waits for it if the request says so.
   * @throws TP_UNAVAILABLE if Redis cannot answer: the caller holds nothing
   */
  async acquire(tag: string, request: Request): Promise<HeldLease | AcquireRefused> {
    const { store } = this.context
    const owner = `${this.#ownerPrefix}${(++this.#count).toString(36)}`
    const { name, lease, wait, fair, signal } = request
    const began = store.monotonic()
    const attempt = async (): Promise<AcquireAttempt<HeldLease>> => {
      if (this.context.closing.aborted) throw new StoreUnavailable('closed', false)
      const grant = await this.grant(tag, owner, request)
      if (!('token' in grant)) return grant
      return { acquired: this.#hold(tag, owner, grant, request), more: grant.more }
    }
    const withdraw = (): void =>
      this.#retry(() => this.release(tag, owner), name, store.monotonic() + lease)
    let result: AcquireAttempt<HeldLease>
    try {
      const channel = this.channel(tag)
      result = await this.#waiters.acquire(channel, owner, { wait, signal, fair }, attempt)
    } catch (error) {
      // The reply may be lost, and the lease granted. Without this it would block until it expires.
      if (fair || (isUnavailable(error) && error.uncertain)) withdraw()
      throw error
    }
    const waitedMs = store.monotonic() - began
    if (result.acquired === undefined) {
      if (fair) withdraw()
      this.#emit(name, 'refused', tag, undefined, waitedMs)
      return result
    }
    this.#emit(name, 'acquired', tag, result.acquired.token, waitedMs)
    return result.acquired
  }

  /**
   * Waits for work under leases, and then releases what this process still holds.
   * @param signal ends the wait
   */
  async close(signal: AbortSignal): Promise<void> {
    await this.#work.finished(signal)
    await Promise.all(
      [...this.#held].map((held) => {
        // Work that is still going on must not go on as if it had its lease.
        held.lease.revoke(closedError(this.noun, held.name))
        return held.release()
      }),
    )
  }

  protected channel(tag: string): string {
    return this.context.keys.channel(this.space, tag)
  }

  protected key(tag: string, part?: string): string {
    return this.context.keys.key(this.space, tag, part)
  }

  #hold(tag: string, owner: string, { token, since }: LeaseGrant, request: Request): HeldLease {
    const { name, lease: length, maxLease, fair, isWork } = request
    const onEnd = isWork ? this.#work.begin() : undefined
    const lease = new Lease({
      timers: this.#timers,
      lease: length,
      maxLease,
      since,
      renew: async () => (await this.renew(tag, owner, length)) === 1,
      onLost: (loss) => {
        this.#forget(held, since)
        onEnd?.()
        this.#emit(name, 'lost', tag, token, 0)
        return lostError(this.noun, name, loss)
      },
    })
    const end = async (write = () => this.release(tag, owner)): Promise<boolean> => {
      const wasLost = lease.isLost
      const until = this.context.store.monotonic() + length
      this.#forget(held, since)
      lease.end()
      try {
        return (await write()) === 1 && !wasLost
      } catch (error) {
        if (!isUnavailable(error)) throw error
        this.#retry(write, name, until)
        return false
      } finally {
        onEnd?.()
        if (!fair) this.#waiters.wake(this.channel(tag))
      }
    }
    const held = new HeldLease({ name, owner, token, lease }, end)
    this.#held.add(held)
    this.#countHeld(1)
    return held
  }

  #forget(held: HeldLease, since: number): void {
    if (!this.#held.delete(held)) return
    this.#countHeld(-1)
    const { events, store } = this.context
    events.counts.durations('leaseHold', this.#feature).add(store.monotonic() - since)
  }

  #countHeld(change: number): void {
    this.context.events.counts.row('held', this.#feature).values[0]! += change
  }

  /** Repeats a write in the background until the lease is over anyway. */
  #retry(write: () => Promise<number>, name: string, until: number): void {
    const { store, events } = this.context
    void retryWrite(write, { store, events, feature: this.#feature, name, until })
  }

  #emit(
    name: string,
    type: EventMap['lock']['type'],
    subject: string,
    token: number | undefined,
    waitedMs: number,
  ): void {
    const { events } = this.context
    const feature = this.#feature
    events.counts.row('lease', feature).count(type)
    if (type !== 'lost') events.counts.durations('leaseWait', feature).add(waitedMs)
    if (!events.hasListeners('lock')) return
    // A permit has no fencing token.
    events.emit('lock', { feature, name, type, subject, token: token || undefined, waitedMs })
  }
}

function lostError(noun: string, name: string, loss: LeaseLoss): TurnpikeError {
  const reason =
    loss === 'expired' ? 'it could not be renewed in time' : 'Redis no longer has it for this owner'
  return new TurnpikeError(
    'TP_LOCK_LOST',
    `The ${noun} ${name} was lost: ${reason}. Another holder may have begun.`,
    { status: 503 },
  )
}

const closedError = (noun: string, name: string): TurnpikeError =>
  new TurnpikeError('TP_LOCK_LOST', `The ${noun} ${name} was released: tp.close() was called.`, {
    status: 503,
  })

/**
 * Does work under leases and releases them afterwards.
 * @throws TP_LOCK_LOST if one was lost, whatever the work did; what the work threw is the `cause`
 */
export async function runUnderLease<Result>(
  held: { readonly loss: TurnpikeError | undefined; release(): Promise<boolean> },
  work: () => Promise<Result> | Result,
  onDone?: () => Promise<unknown>,
): Promise<Result> {
  try {
    let result: Result
    try {
      result = await work()
    } catch (error) {
      const { loss } = held
      throw loss === undefined ? error : lossWithCause(loss, error)
    }
    if (held.loss) throw held.loss
    await onDone?.()
    return result
  } finally {
    await held.release()
  }
}
