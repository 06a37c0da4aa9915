import { expect, test } from 'vitest'
import { expectSound, soak } from './soak.ts'

// `npm run soak` makes a million calls.
test('40,000 calls while Redis comes and goes', { timeout: 90_000 }, async () => {
  const soaked = await soak(40_000, 80_000)
  expectSound(soaked)
  expect(soaked.faults).toBeGreaterThan(5)
})
