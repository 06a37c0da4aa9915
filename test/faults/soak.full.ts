import { test } from 'vitest'
import { document } from './matrix/table.ts'
import { expectSound, soak } from './soak.ts'

test('a million calls while Redis comes and goes', { timeout: 1_200_000 }, async () => {
  const soaked = await soak(1_000_000, 1_190_000)
  expectSound(soaked)
  const { calls, seconds, faults, outcomes, heap, listeners, ended } = soaked
  const range = (values: readonly number[]): string =>
    [Math.min(...values), Math.max(...values)].map((value) => value.toFixed(1)).join(' to ')
  const lines = [
    `- ${calls.toLocaleString('en')} calls in ${seconds.toFixed(0)} s, through ${faults} faults of 300 ms each`,
    `- heap after a collection, at eight points: ${range(heap)} MB; the last one ${heap.at(-1)!.toFixed(1)} MB`,
    `- listeners on the process, the clients and their sockets: ${[...new Set(listeners)].join(', ')}`,
    `- from \`close()\` to the end of the process: ${ended.toFixed(0)} ms`,
    `- results of the calls: ${Object.entries(outcomes)
      .toSorted(([a], [b]) => a.localeCompare(b))
      .map(([what, count]) => `${what}: ${count.toLocaleString('en')}`)
      .join('; ')}`,
  ]
  document('soak', lines.join('\n'))
})
