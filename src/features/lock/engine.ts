/** Locks without HTTP. */
import { randomBytes } from 'node:crypto'
import { isUnavailable, StoreUnavailable } from '../../errors.ts'
import type { EventMap } from '../../events.ts'
import type { RequestBudget } from '../../request-budget.ts'
import type { ExtensionContext } from '../../extension.ts'
import { SharedTimers, Lease, retryWrite } from '../lease.ts'
import { QUEUE_PLACE_TTL, Waiters, type AcquireAttempt } from '../waiters.ts'
import { acquire } from './acquire.ts'
import { extend } from './extend.ts'
import { release } from './release.ts'
import { replicas } from './replicas.ts'
import { settle } from './settle.ts'

/** How a lock is asked for; times in ms. */
export interface Asking {
  /** As it stands in events. */
  name: string
  ttl: number
  wait: number
  fair: boolean
  waitReplicas: number
  signal?: AbortSignal | undefined
  budget?: RequestBudget | undefined
}

/** A lock that is held: its lease is renewed until it is released or lost. */
export interface Held {
  /** Greater than that of everybody who had the lock before. */
  readonly token: number
  readonly lease: Lease
  /** True if it was still ours. Harmless when repeated. */
  release(): Promise<boolean>
  /** Let nobody have it for `ms` more, but hold it no longer. True if it was still ours. */
  settle(ms: number): Promise<boolean>
}

export interface Busy {
  token?: undefined
  /** When its present lease ends, in ms from now. */
  waitMs: number
}

/** How long replicas may take, in ms: a WAIT holds up everything on the connection. */
const REPLICATION = 50

export class LockEngine {
  readonly #context: ExtensionContext
  /** The first part of keys: what is locked by another feature is another lock. */
  readonly #space: string
  readonly #process = randomBytes(12).toString('base64url')
  readonly #turns: Waiters
  readonly #alarms: SharedTimers
  readonly #held = new Set<Held>()
  #count = 0

  constructor(context: ExtensionContext, space: string) {
    this.#context = context
    this.#space = space
    this.#turns = new Waiters(context.store, `${this.#process}.`)
    this.#alarms = new SharedTimers(context.store)
  }

  /**
   * Take a lock, waiting for it if that is asked for.
   * @throws TP_UNAVAILABLE when Redis cannot answer: nobody may think that it has the lock
   */
  async acquire(tag: string, asking: Asking): Promise<Held | Busy> {
    const { store, keys } = this.#context
    const owner = `${this.#process}.${(++this.#count).toString(36)}`
    const channel = keys.channel(this.#space, tag)
    const names = this.#namesOf(tag)
    const [lock, , places, signs] = names
    const { ttl, fair, budget, name } = asking
    const began = store.monotonic()

    const attempt = async (): Promise<AcquireAttempt<Held>> => {
      const since = store.monotonic()
      const [ok, value] = await store.run(
        acquire,
        names,
        [owner, ttl, fair ? QUEUE_PLACE_TTL : 0],
        budget,
      )
      if (ok === 0) return { waitMs: value }
      if (asking.waitReplicas > 0) await this.#replicated(asking)
      return { got: this.#hold(tag, owner, value, since, asking), more: false }
    }
    const leave = (): void => {
      this.#inBackground(
        () => store.run(release, [lock, places, signs], [owner, channel]),
        name,
        ttl,
      )
    }
    let outcome: AcquireAttempt<Held>
    try {
      outcome = await this.#turns.acquire(
        channel,
        owner,
        { signal: asking.signal, ...asking },
        attempt,
      )
    } catch (error) {
      // The reply may have been lost, not the lock: nobody shall wait for a holder that does not exist.
      if (fair || (isUnavailable(error) && error.uncertain)) leave()
      throw error
    }
    const waitedMs = store.monotonic() - began
    if (outcome.got) {
      this.#tell({ name, type: 'acquired', subject: tag, token: outcome.got.token, waitedMs })
      return outcome.got
    }
    if (fair) leave()
    this.#tell({ name, type: 'refused', subject: tag, token: undefined, waitedMs })
    return { waitMs: outcome.waitMs }
  }

  /** Give back what this process holds. */
  async close(): Promise<void> {
    await Promise.all([...this.#held].map((held) => held.release()))
  }

  #hold(
    tag: string,
    owner: string,
    token: number,
    since: number,
    { name, ttl, fair }: Asking,
  ): Held {
    const { store, keys } = this.#context
    const [lock, , places, signs] = this.#namesOf(tag)
    const channel = keys.channel(this.#space, tag)
    const lease = new Lease({
      alarms: this.#alarms,
      ttl,
      since,
      renew: async () => (await store.run(extend, [lock], [owner, ttl])) === 1,
      lost: () => {
        this.#held.delete(held)
        this.#tell({ name, type: 'lost', subject: tag, token, waitedMs: 0 })
      },
    })
    let ending: Promise<boolean> | undefined
    /** End the lease by one last write: that is done once, and later if Redis is away. */
    const end = (write: () => Promise<number>): Promise<boolean> => {
      ending ??= (async () => {
        const wasLost = lease.isLost
        this.#held.delete(held)
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
      })()
      return ending
    }
    const held: Held = {
      token,
      lease,
      release: () => end(() => store.run(release, [lock, places, signs], [owner, channel])),
      settle: (ms) => end(() => store.run(settle, [lock], [owner, ms])),
    }
    this.#held.add(held)
    return held
  }

  /** @throws TP_UNAVAILABLE when a failover now could lose the lock */
  async #replicated({ waitReplicas, budget }: Asking): Promise<void> {
    const { store } = this.#context
    const count = await store.run(replicas, [], [waitReplicas, REPLICATION], budget)
    if (count < waitReplicas)
      throw new StoreUnavailable(
        'error',
        true,
        new Error(`${count} of ${waitReplicas} replicas have the lock`),
      )
  }

  #inBackground(write: () => Promise<number>, name: string, ttl: number): void {
    const { store, events } = this.#context
    void retryWrite(write, { store, events, feature: 'lock', name, until: store.monotonic() + ttl })
  }

  #tell(event: Omit<EventMap['lock'], 'feature'>): void {
    const { events } = this.#context
    if (events.hasListeners('lock')) events.emit('lock', { feature: 'lock', ...event })
  }

  #namesOf(tag: string): [string, string, string, string] {
    const { keys } = this.#context
    const of = (sub?: string): string => keys.key(this.#space, tag, sub)
    return [of(), of('token'), of('line'), of('signs')]
  }
}
