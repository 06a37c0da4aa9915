import { StoreUnavailable } from '../errors.ts'
import type { RequestBudget } from '../request-budget.ts'
import type { GuardedCall } from './connection-guard.ts'

/**
 * Lets at most so many calls wait for a reply at a time. The others wait here, in order: what is
 * not sent costs Redis and the network nothing if its caller times out.
 */
export class ConcurrencyLimit {
  readonly #max: number
  readonly #maxQueued: number
  #active = 0
  readonly #queue = new Set<() => void>()

  constructor(max: number, maxQueued: number) {
    this.#max = max
    this.#maxQueued = maxQueued
  }

  /**
   * Runs a call in its turn.
   * @param ms how long it may wait for its turn
   * @param execute sends the call
   * @throws TP_UNAVAILABLE if its turn did not come
   */
  async run<Reply>(
    call: GuardedCall<Reply>,
    ms: number,
    budget: RequestBudget | undefined,
    execute: (call: GuardedCall<Reply>) => Promise<Reply>,
  ): Promise<Reply> {
    if (this.#active < this.#max) this.#active++
    else if (!(await this.#turn(ms, budget))) throw new StoreUnavailable('saturated', false)
    // A caller may time out before the reply arrives. Until then the connection is occupied.
    let wasSent = false
    const send = (deadline: number): Promise<Reply> => {
      wasSent = true
      const reply = call.send(deadline)
      reply.then(this.#release, this.#release)
      return reply
    }
    try {
      return await execute({
        name: call.name,
        send,
        retry: (error, deadline) => call.retry?.(error, deadline),
      })
    } finally {
      if (!wasSent) this.#release()
    }
  }

  /** Resolves with true when it is the caller's turn, with false after `ms`. */
  #turn(ms: number, budget: RequestBudget | undefined): Promise<boolean> {
    if (this.#queue.size >= this.#maxQueued || ms <= 0) return Promise.resolve(false)
    budget?.begin(performance.now())
    return new Promise((resolve) => {
      const end = (isTurn: boolean): void => {
        clearTimeout(timer)
        this.#queue.delete(next)
        budget?.end(performance.now())
        resolve(isTurn)
      }
      const next = (): void => end(true)
      const timer = setTimeout(() => end(false), ms)
      this.#queue.add(next)
    })
  }

  /** Passes the turn on to the call that waits longest. */
  readonly #release = (): void => {
    const [next] = this.#queue
    if (next) next()
    else this.#active--
  }
}
