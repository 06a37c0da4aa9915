/** Locks as callers hold them. */
import { TurnpikeError } from '../../errors.ts'
import type { HeldLease } from '../lease-engine.ts'
import type { HeldLock, HeldLocks } from './options.ts'

/** Returns the lock that a caller gets. */
export function createHeldLock(held: HeldLease): HeldLock {
  return {
    token: held.token,
    get signal() {
      return held.lease.signal
    },
    get lost() {
      return held.lease.isLost
    },
    throwIfLost() {
      if (held.loss) throw held.loss
    },
    release: () => held.release(),
    async [Symbol.asyncDispose]() {
      await held.release()
    },
  }
}

/** Several leases as one: it is lost as soon as one of them is. */
export class HeldLeases {
  readonly #held: readonly HeldLease[]
  #signal: AbortSignal | undefined

  constructor(held: readonly HeldLease[]) {
    this.#held = held
  }
  get loss(): TurnpikeError | undefined {
    for (const { loss } of this.#held) if (loss) return loss
    return undefined
  }
  get signal(): AbortSignal {
    return (this.#signal ??= AbortSignal.any(this.#held.map(({ lease }) => lease.signal)))
  }
  async release(): Promise<boolean> {
    const released = await Promise.all(this.#held.map((each) => each.release()))
    return released.every(Boolean)
  }
}

/** Returns the locks that a caller of `tp.lock.all` gets. @param tokens in the order of its names */
export function createHeldLocks(held: HeldLeases, tokens: readonly number[]): HeldLocks {
  return {
    tokens,
    get signal() {
      return held.signal
    },
    get lost() {
      return held.loss !== undefined
    },
    throwIfLost() {
      if (held.loss) throw held.loss
    },
    release: () => held.release(),
    async [Symbol.asyncDispose]() {
      await held.release()
    },
  }
}

export const lockedError = (name: string, waitMs: number): TurnpikeError =>
  new TurnpikeError(
    'TP_LOCKED',
    `Another holder has the lock ${name}. Its lease ends in ${Math.ceil(waitMs)} ms unless it is renewed. To wait for it, use \`wait\`.`,
    { status: 423 },
  )
