/** Waiting for somebody else, in another process, who is making the entry that is wanted. */
import { randomBytes } from 'node:crypto'
import type { Store } from '../store/store.ts'
import { release } from './slot.ts'

/** How it ended: there is an entry now; there will be none; or another one may try. */
export type Outcome = 'filled' | 'passed' | 'freed'

/** The leases of one instance. */
export class Leases {
  readonly channel: string
  readonly #store: Store
  readonly #waiting = new Map<string, Set<(outcome: Outcome) => void>>()
  /** No other process has the same: one that counts on is a name no one else gives. */
  readonly #name = randomBytes(9).toString('base64url')
  #tokens = 0
  #hears = false

  constructor(store: Store, channel: string) {
    this.#store = store
    this.channel = channel
  }

  /** A name for one attempt. */
  token(): string {
    return `${this.#name}${(++this.#tokens).toString(36)}`
  }

  /** What those who wait for `lease` are told. */
  message(lease: string, outcome: Outcome): string {
    return `${outcome} ${lease}`
  }

  /**
   * Give a lease back without an entry. Nobody waits for it: a lease that cannot be given back ends by itself.
   * @param pause for so many ms nobody shall take it, in any process: no entry would come of it
   */
  giveBack(lease: string, token: string, pause = 0): void {
    const message = this.message(lease, pause > 0 ? 'passed' : 'freed')
    this.#store.run(release, [lease], [token, this.channel, message, pause]).catch(() => {})
  }

  /**
   * Resolves when something is heard of the lease, or after `ms` at most: who listens may have missed it.
   * @param over ends it, too
   */
  async wait(lease: string, ms: number, over?: Promise<undefined>): Promise<Outcome | undefined> {
    this.#listen()
    let timer: NodeJS.Timeout | undefined
    const waiting = this.#waiting.get(lease) ?? new Set()
    this.#waiting.set(lease, waiting)
    let hear: (outcome: Outcome) => void = () => {}
    const heard = new Promise<Outcome>((resolve) => {
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
      for (const hear of this.#waiting.get(lease) ?? []) hear(outcome as Outcome)
    })
  }
}
