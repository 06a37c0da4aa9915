/** A source of time. Tests replace it by one that they advance. */
export interface Clock {
  /** Returns the milliseconds since the Unix epoch. */
  now(): number
  /** Returns the milliseconds on a clock that never jumps. Its start is arbitrary. */
  monotonic(): number
  /**
   * Resolves after `ms` milliseconds. Rejects with the signal's reason when it is aborted.
   * @param idle lets the process end while it sleeps
   */
  sleep(ms: number, signal?: AbortSignal, idle?: boolean): Promise<void>
}

/**
 * One moment on both clocks of this machine. The monotonic one may stand still while the machine is
 * suspended. The other one may be set.
 */
export interface Moment {
  readonly monotonic: number
  readonly wall: number
}

/** Returns the moment that it is now. */
export const momentOf = (clocks: { monotonic(): number; wallClock(): number }): Moment => ({
  monotonic: clocks.monotonic(),
  wall: clocks.wallClock(),
})

/** Longest delay of a timer. A longer sleep ends early, so callers check the time again. */
const MAX_DELAY = 2 ** 31 - 1

/** Returns the clock of the machine. */
export function systemClock(): Clock {
  return {
    now: Date.now,
    monotonic: () => performance.now(),
    sleep: (ms, signal, idle = false) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason)
        const timer = setTimeout(done, Math.min(ms, MAX_DELAY))
        if (idle) timer.unref()
        function done(): void {
          signal?.removeEventListener('abort', abort)
          resolve()
        }
        function abort(): void {
          clearTimeout(timer)
          reject(signal!.reason)
        }
        signal?.addEventListener('abort', abort, { once: true })
      }),
  }
}

/**
 * Calls a function of the application, and returns its result.
 * @param what names the function in the error
 * @throws what it throws, or an error if it has not settled after `ms`. A later result is ignored
 */
export async function callWithin<Result>(
  clock: Pick<Clock, 'sleep'>,
  ms: number,
  what: string,
  call: () => Result,
): Promise<Awaited<Result>> {
  const settled = new AbortController()
  const late = clock.sleep(ms, settled.signal, true).then((): never => {
    throw new Error(`${what} has not settled within ${ms / 1000} s.`)
  })
  late.catch(() => {})
  try {
    return await Promise.race([call(), late])
  } finally {
    settled.abort()
  }
}

/** A clock that moves only when it is advanced. */
export interface ManualClock extends Clock {
  /** Moves the time by `ms` milliseconds, back if negative, and wakes the sleepers that are due. */
  advance(ms: number): Promise<void>
}

/**
 * Returns a clock that moves only when it is advanced.
 * @param start its time, in milliseconds since the epoch
 */
export function manualClock(start: number = Date.UTC(2026, 0, 1)): ManualClock {
  let now = start
  let elapsed = 0
  let sleepers: { until: number; wake: () => void }[] = []
  return {
    now: () => now,
    monotonic: () => elapsed,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason)
        const abort = (): void => {
          sleepers = sleepers.filter((other) => other !== sleeper)
          reject(signal!.reason)
        }
        const wake = (): void => {
          signal?.removeEventListener('abort', abort)
          resolve()
        }
        const sleeper = { until: now + ms, wake }
        sleepers.push(sleeper)
        signal?.addEventListener('abort', abort, { once: true })
      }),
    async advance(ms) {
      now += ms
      elapsed += Math.max(ms, 0)
      const due = sleepers.filter((sleeper) => sleeper.until <= now)
      sleepers = sleepers.filter((sleeper) => sleeper.until > now)
      for (const sleeper of due) sleeper.wake()
      await new Promise((resolve) => setImmediate(resolve))
    },
  }
}
