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

/** What a promise comes to, and how long that takes in ms. */
export async function timed<Value>(
  promise: Promise<Value>,
): Promise<{ value?: Value; error?: unknown; ms: number }> {
  const began = performance.now()
  try {
    return { value: await promise, ms: performance.now() - began }
  } catch (error) {
    return { error, ms: performance.now() - began }
  }
}
