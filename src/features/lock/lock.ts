/** A lock as people use it. */
import { TurnpikeError } from '../../errors.ts'
import type { Held } from './engine.ts'
import type { HeldLock } from './options.ts'

/** One lock of several that are held, by name in sorted order. */
export function lockOf(held: readonly (readonly [name: string, held: Held])[]): HeldLock {
  const [[, first]] = held as [readonly [string, Held]]
  const isLost = (): boolean => held.some(([, { lease }]) => lease.isLost)
  let signal: AbortSignal | undefined
  async function release(): Promise<boolean> {
    const released = await Promise.all(held.map(([, each]) => each.release()))
    return released.every(Boolean)
  }
  return {
    token: first.token,
    tokens: Object.fromEntries(held.map(([name, { token }]) => [name, token])),
    get signal() {
      return (signal ??=
        held.length === 1
          ? first.lease.signal
          : AbortSignal.any(held.map(([, { lease }]) => lease.signal)))
    },
    get lost() {
      return isLost()
    },
    throwIfLost() {
      if (isLost()) throw lost(held.map(([name]) => name))
    },
    release,
    async [Symbol.asyncDispose]() {
      await release()
    },
  }
}

export const lost = (names: readonly string[]): TurnpikeError =>
  new TurnpikeError(
    'TP_LOCK_LOST',
    `The lock ${names.join(', ')} was lost before the work was done: another holder may have begun.`,
    { status: 503 },
  )

export const locked = (name: string, waitMs: number): TurnpikeError =>
  new TurnpikeError(
    'TP_LOCKED',
    `The lock ${name} is held by somebody else, for ${Math.ceil(waitMs)} ms more unless it is renewed.`,
    { status: 423 },
  )
