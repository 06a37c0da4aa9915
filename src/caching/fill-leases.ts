/** Waiting for somebody else, in another process, who is making the entry that is wanted. */
import { randomBytes } from 'node:crypto'
import type { Store } from '../store/store.ts'
import { BoundedMap } from './bounded-map.ts'
import { releaseFillLease } from './entry-operations.ts'

/** How it ended: there is an entry now; there will be none; or another one may try. */
export type LeaseWaitResult = 'filled' | 'passed' | 'freed'

/** Leases that may be held in vain. */
const MOST_LEFT = 10_000

/** The leases of one instance. */
export class FillLeases {
  readonly channel: string
  readonly #store: Store
  readonly #waiting = new Map<string, Set<(outcome: LeaseWaitResult) => void>>()
  /** No other process has the same: one that counts on is a name no one else gives. */
  readonly #name = randomBytes(9).toString('base64url')
  /** Leases that could not be given back, and the tokens that may hold them still. */
  readonly #left = new BoundedMap<string>(MOST_LEFT)
  #tokens = 0
  #hears = false

  constructor(store: Store, channel: string) {
    this.#store = store
    this.channel = channel
  }

  /** A name for one attempt. A lease that could not be given back is taken up again: nobody else can have it. */
  token(lease: string): string {
    const left = this.#left.size > 0 ? this.#left.get(lease) : undefined
    if (left !== undefined) {
      this.#left.delete(lease)
      return left
    }
    return `${this.#name}${(++this.#tokens).toString(36)}`
  }

  /** What those who wait for `lease` are told. */
  message(lease: string, outcome: LeaseWaitResult): string {
    return `${outcome} ${lease}`
  }

  /**
   * Give a lease back without an entry. Nobody waits for it: one that cannot be given back is taken up by this
   * process's next attempt, or ends by itself.
   * @param pause for so many ms nobody shall take it, in any process: no entry would come of it
   */
  giveBack(lease: string, token: string, pause = 0): void {
    const message = this.message(lease, pause > 0 ? 'passed' : 'freed')
    this.#store
      .run(releaseFillLease, [lease], [token, this.channel, message, pause])
      .catch(() => this.leave(lease, token))
  }

  /** Nobody works under this token any more, and it may hold the lease. */
  leave(lease: string, token: string): void {
    if (token !== '') this.#left.set(lease, token)
  }

  /**
   * Resolves when something is heard of the lease, or after `ms` at most: who listens may have missed it.
   * @param over ends it, too
   */
  async wait(
    lease: string,
    ms: number,
    over?: Promise<undefined>,
  ): Promise<LeaseWaitResult | undefined> {
    this.#listen()
    let timer: NodeJS.Timeout | undefined
    const waiting = this.#waiting.get(lease) ?? new Set()
    this.#waiting.set(lease, waiting)
    let hear: (outcome: LeaseWaitResult) => void = () => {}
    const heard = new Promise<LeaseWaitResult>((resolve) => {
      hear = resolve
      waiting.add(hear)
    })
    try {
      // By this machine's time: whoever turns the store's clock by hand still waits for another process.
      const late = new Promise<undefined>((resolve) => (timer = setTimeout(resolve, ms, undefined)))
      return await Promise.race([heard, late, ...(over ? [over] : [])])
    } finally {
      clearTimeout(timer)
      waiting.delete(hear)
      if (waiting.size === 0) this.#waiting.delete(lease)
    }
  }

  /** Subscribe when somebody waits for the first time. */
  #listen(): void {
    if (this.#hears) return
    this.#hears = true
    this.#store.subscribe(this.channel, (message) => {
      const [outcome, lease = ''] = message.split(' ')
      for (const hear of this.#waiting.get(lease) ?? []) hear(outcome as LeaseWaitResult)
    })
  }
}
