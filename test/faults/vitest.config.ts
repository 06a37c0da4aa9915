import { defineConfig } from 'vitest/config'
import shared from '../../vitest.config.ts'

/** `npm run test:faults`, `npm run test:hostile` and `npm run soak`: what takes too long for each run of the tests. */
export default defineConfig({
  ...shared,
  test: {
    include: ['test/{faults,hostile}/*.full.ts'],
    globalSetup: 'test/support/global-setup.ts',
    root: `${import.meta.dirname}/../..`,
    hookTimeout: 30_000,
    fileParallelism: false,
  },
})
