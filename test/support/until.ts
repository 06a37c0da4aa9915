import { watchStarvation } from './starvation.ts'

/** What `check` gives as soon as that is true; fails when it is not after `ms`. */
export async function until<Value>(
  what: string,
  check: () => Value | Promise<Value>,
  ms = 5000,
): Promise<NonNullable<Value>> {
  const end = performance.now() + ms
  for (;;) {
    const value = await check()
    if (value) return value
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Resolves with the outcome of a promise and its duration in ms, without the time in which this process could not run. */
export async function timed<Value>(
  promise: Promise<Value>,
): Promise<{ value?: Value; error?: unknown; ms: number; wall: number }> {
  const lost = watchStarvation()
  const began = performance.now()
  const times = (): { ms: number; wall: number } => {
    const wall = performance.now() - began
    return { ms: wall - lost(), wall }
  }
  try {
    const value = await promise
    return { value, ...times() }
  } catch (error) {
    return { error, ...times() }
  }
}
