/** Leases on fills: one process fills an entry, the others wait for it. */
import { randomBytes } from 'node:crypto'
import type { Store } from '../store/store.ts'
import { BoundedMap } from './bounded-map.ts'
import { releaseFillLease } from './entry-operations.ts'

const MESSAGES = ['filled', 'refused', 'freed'] as const

/**
 * How a fill in another process ended: the entry is stored; the response could not be stored; or the
 * lease is free.
 */
export type LeaseMessage = (typeof MESSAGES)[number]

/** Leases of this process that may still be held in Redis. */
const MAX_ABANDONED = 10_000

/** The leases of one instance. */
export class FillLeases {
  readonly channel: string
  readonly #store: Store
  readonly #waiters = new Map<string, Set<(message: LeaseMessage) => void>>()
  /** Unique to this instance. With a counter behind it, it makes unique tokens. */
  readonly #id = randomBytes(9).toString('base64url')
  /** Tokens of leases that could not be released, by lease. */
  readonly #abandoned = new BoundedMap<string>(MAX_ABANDONED)
  #tokens = 0
  #isSubscribed = false

  constructor(store: Store, channel: string) {
    this.#store = store
    this.channel = channel
  }

  /** Returns a token for one attempt. A lease that could not be released is taken up again by its old token. */
  token(lease: string): string {
    const abandoned = this.#abandoned.size > 0 ? this.#abandoned.get(lease) : undefined
    if (abandoned !== undefined) {
      this.#abandoned.delete(lease)
      return abandoned
    }
    return `${this.#id}${(++this.#tokens).toString(36)}`
  }

  /** Returns what is published for the waiters of a lease. */
  message(lease: string, message: LeaseMessage): string {
    return `${message} ${lease}`
  }

  /**
   * Releases a lease without an entry, without waiting for it. If that fails, this process's next
   * attempt takes the lease up, or it expires.
   * @param pauseMs how long no process takes the lease: the response could not be stored
   */
  release(lease: string, token: string, pauseMs = 0): void {
    const message = this.message(lease, pauseMs > 0 ? 'refused' : 'freed')
    this.#store
      .run(releaseFillLease, [lease], [token, this.channel, message, pauseMs])
      .catch(() => this.abandon(lease, token))
  }

  /** Notes that a lease may still be held in Redis under a token that is no longer used. */
  abandon(lease: string, token: string): void {
    if (token !== '') this.#abandoned.set(lease, token)
  }

  /**
   * Resolves when a message about the lease arrives, and after `ms` at the latest: a message may be
   * missed.
   * @param over ends the wait, too
   */
  async wait(
    lease: string,
    ms: number,
    over: Promise<undefined>,
  ): Promise<LeaseMessage | undefined> {
    this.#subscribe()
    let timer: NodeJS.Timeout | undefined
    const waiters = this.#waiters.get(lease) ?? new Set()
    this.#waiters.set(lease, waiters)
    let receive: (message: LeaseMessage) => void = () => {}
    const received = new Promise<LeaseMessage>((resolve) => {
      receive = resolve
      waiters.add(receive)
    })
    try {
      // This machine's clock: another process does not follow a store's clock that tests turn.
      const late = new Promise<undefined>((resolve) => (timer = setTimeout(resolve, ms, undefined)))
      return await Promise.race([received, late, over])
    } finally {
      clearTimeout(timer)
      waiters.delete(receive)
      if (waiters.size === 0) this.#waiters.delete(lease)
    }
  }

  #subscribe(): void {
    if (this.#isSubscribed) return
    this.#isSubscribed = true
    this.#store.subscribe(this.channel, (text) => {
      const [message, lease = ''] = text.split(' ')
      if (!MESSAGES.includes(message as LeaseMessage)) return
      for (const receive of this.#waiters.get(lease) ?? []) receive(message as LeaseMessage)
    })
  }
}
