/** A source of time that tests can turn by hand. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number
  /** Milliseconds on a clock that never jumps, from wherever it began. */
  monotonic(): number
  /**
   * Resolves `ms` milliseconds from now; rejects with the signal's reason when it is aborted.
   * @param idle does not keep the process alive. Default false.
   */
  sleep(ms: number, signal?: AbortSignal, idle?: boolean): Promise<void>
}

/** Timers know no longer time: what is further away comes early, and its sleeper looks again. */
const LONGEST = 2 ** 31 - 1

/** The machine's own clock. */
export function systemClock(): Clock {
  return {
    now: Date.now,
    monotonic: () => performance.now(),
    sleep: (ms, signal, idle = false) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason)
        const timer = setTimeout(done, Math.min(ms, LONGEST))
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

/** A clock that stands still until it is turned. */
export interface ManualClock extends Clock {
  /** Move time forward by `ms` (negative: back) and wake every sleeper that is due. */
  advance(ms: number): Promise<void>
}

/** A clock that stands at `start` (milliseconds since the epoch) until `turn` moves it. */
export function manualClock(start: number = Date.UTC(2026, 0, 1)): ManualClock {
  let now = start
  let steady = 0
  let sleepers: { until: number; wake: () => void }[] = []
  return {
    now: () => now,
    monotonic: () => steady,
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
      steady += Math.max(ms, 0)
      const due = sleepers.filter((sleeper) => sleeper.until <= now)
      sleepers = sleepers.filter((sleeper) => sleeper.until > now)
      for (const sleeper of due) sleeper.wake()
      await new Promise((resolve) => setImmediate(resolve))
    },
  }
}
