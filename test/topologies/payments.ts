import { expect } from 'vitest'
import { until } from '../support/until.ts'

interface Payment {
  key: string
  subject: string
  /** What each run answered, in order. */
  runs: string[]
  /** The bodies that its clients received with 200. */
  answered: Set<string>
  /**
   * Was it acknowledged in the master's last moments? Replication is asynchronous: the new master may not know
   * of it, and then it runs again.
   */
  mayBeLost: boolean
}

/** Idempotent requests, their effects, and what their clients know of them. */
export class Payments {
  readonly #all = new Map<string, Payment>()
  #count = 0
  /** What is acknowledged between these times may be known to the dying master only. */
  #lastMoments = { from: Infinity, to: Infinity }

  /** The handler's work. */
  run(key: string): string {
    const { runs } = this.#all.get(key)!
    runs.push(`${key}, run ${runs.length + 1}`)
    return runs.at(-1)!
  }

  /** Alternately the key of a new payment and one that was acknowledged and cannot be lost. */
  next(subject: string): string {
    const known = [...this.#all.values()].filter(
      (each) => each.subject === subject && each.answered.size > 0 && !each.mayBeLost,
    )
    if (++this.#count % 2 === 0 && known.length > 0)
      return known[Math.floor(Math.random() * known.length)]!.key
    const key = `p${this.#count}`
    this.#all.set(key, { key, subject, runs: [], answered: new Set(), mayBeLost: false })
    return key
  }

  /** Records what a client received. */
  note(key: string, { status, body }: { status: number; body: string }): void {
    const payment = this.#all.get(key)!
    const { runs, answered } = payment
    const { from, to } = this.#lastMoments
    const now = performance.now()
    if (status === 200) {
      if (answered.size === 0) payment.mayBeLost = from < now && now < to
      answered.add(body)
    } else if (answered.size === 0) {
      expect([key, status, runs]).toEqual([key, status, []])
    }
  }

  /** What was acknowledged so far is safe, once `replicate` has resolved. */
  async settle(replicate: () => Promise<void>): Promise<void> {
    this.#lastMoments.from = performance.now()
    await replicate()
  }

  /** The master has failed; what it acknowledged reaches the clients within `ms`. */
  fail(ms: number): void {
    this.#lastMoments.to = performance.now() + ms
  }

  /** All clients ask again. Those that were refused are answered before `end`, by performance.now(). */
  async complete(
    pay: (key: string, subject: string) => Promise<{ status: number }>,
    end: number,
  ): Promise<void> {
    for (const { key, subject, answered, mayBeLost } of this.#all.values()) {
      const ask = async (): Promise<boolean> => (await pay(key, subject)).status === 200
      if (answered.size === 0)
        await until(`the retry of ${key} is answered`, ask, Math.max(0, end - performance.now()))
      else if (!(await ask())) expect([key, mayBeLost]).toEqual([key, true])
    }
  }

  /** Each has run once, and all its clients received the same body. */
  expectOnce(): void {
    const all = [...this.#all.values()]
    expect(all.length).toBeGreaterThan(20)
    for (const { key, runs, answered } of all.filter(({ mayBeLost }) => !mayBeLost))
      expect([key, runs, [...answered]]).toEqual([key, [`${key}, run 1`], [`${key}, run 1`]])
    const last = all.filter(({ mayBeLost }) => mayBeLost)
    for (const { key, runs } of last) expect([key, runs.length <= 2]).toEqual([key, true])
    const lost = last.filter(({ runs }) => runs.length > 1)
    console.log(
      `payments: ${all.length - last.length}, each made once; ${last.length} besides in the master's last moments, ${lost.length} of them made twice`,
    )
  }
}
