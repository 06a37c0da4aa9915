/** Locks without HTTP. */
import { randomBytes } from 'node:crypto'
import { isUnavailable, StoreUnavailable } from '../../errors.ts'
import type { Budget } from '../../store/budget.ts'
import type { Ground } from '../ground.ts'
import { Lease, persist } from '../lease.ts'
import { PATIENCE, Turns, type Attempt } from '../turns.ts'
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
  budget?: Budget | undefined
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
  readonly #ground: Ground
  /** The first part of keys: what is locked by another feature is another lock. */
  readonly #space: string
  readonly #process = randomBytes(12).toString('base64url')
  readonly #turns: Turns
  readonly #held = new Set<Held>()
  #count = 0

  constructor(ground: Ground, space: string) {
    this.#ground = ground
    this.#space = space
    this.#turns = new Turns(ground.store, `${this.#process}.`)
  }

  /**
   * Take a lock, waiting for it if that is asked for.
   * @throws TP_UNAVAILABLE when Redis cannot answer: nobody may think that it has the lock
   */
  async acquire(tag: string, asking: Asking): Promise<Held | Busy> {
    const { store, keys } = this.#ground
    const owner = `${this.#process}.${(++this.#count).toString(36)}`
    const channel = keys.channel(this.#space, tag)
    const names = this.#namesOf(tag)
    const [lock, , places, signs] = names
    const { ttl, fair, budget, name } = asking
    const began = store.steady()

    const attempt = async (): Promise<Attempt<Held>> => {
      const since = store.steady()
      const [ok, value] = await store.run(acquire, names, [owner, ttl, fair ? PATIENCE : 0], budget)
      if (ok === 0) return { waitMs: value }
      await this.#replicated(asking)
      return { got: this.#hold(tag, owner, value, since, asking), more: false }
    }
    const leave = (): Promise<number> => store.run(release, [lock, places, signs], [owner, channel])
    let isIn = true
    try {
      const outcome = await this.#turns.take(channel, owner, { ...asking, signal: asking.signal }, attempt)
      if (outcome.got) {
        this.#tell(name, 'acquired', tag, outcome.got.token, store.steady() - began)
        return outcome.got
      }
      isIn = fair
      this.#tell(name, 'refused', tag, undefined, store.steady() - began)
      return { waitMs: outcome.waitMs }
    } catch (error) {
      // The reply may have been lost, not the lock: nobody shall wait for a holder that does not exist.
      isIn = fair || !isUnavailable(error) || error.uncertain
      if (isIn) this.#inBackground(leave, name, ttl)
      isIn = false
      throw error
    } finally {
      if (isIn && !this.#isHeldBy(owner)) this.#inBackground(leave, name, ttl)
    }
  }

  /** Give back what this process holds. */
  async close(): Promise<void> {
    await Promise.all([...this.#held].map((held) => held.release()))
  }

  #owners = new WeakMap<Held, string>()

  #isHeldBy(owner: string): boolean {
    return [...this.#held].some((held) => this.#owners.get(held) === owner)
  }

  #namesOf(tag: string): [string, string, string, string] {
    const { keys } = this.#ground
    return [
      keys.key(this.#space, tag),
      keys.key(this.#space, tag, 'token'),
      keys.key(this.#space, tag, 'line'),
      keys.key(this.#space, tag, 'signs'),
    ]
  }
}
