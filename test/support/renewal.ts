import { setImmediate as tick } from 'node:timers/promises'
import { vi } from 'vitest'
import type { Duration } from '../../src/duration.ts'
import type { Opened } from './engines.ts'

/** Turns the clock, and waits until what renews its lease by it has done so. */
export async function renewed(
  { store, advance }: Pick<Opened, 'store' | 'advance'>,
  time: Duration,
): Promise<void> {
  const run = vi.spyOn(store, 'run')
  try {
    await advance(time)
    await vi.waitFor(() => {
      if (run.mock.results.length === 0) throw new Error('nothing was renewed')
    }, 5000)
    await Promise.all(run.mock.results.map(({ value }) => value as Promise<unknown>))
    for (let i = 0; i < 3; i++) await tick()
  } finally {
    run.mockRestore()
  }
}
