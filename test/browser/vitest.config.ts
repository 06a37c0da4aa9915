import { defineConfig } from 'vitest/config'
import shared from '../../vitest.config.ts'

/** `npm run test:browser`: what a real browser does. */
export default defineConfig({
  ...shared,
  test: {
    include: ['test/browser/*.browser.ts'],
    globalSetup: 'test/support/global-setup.ts',
    root: `${import.meta.dirname}/../..`,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    fileParallelism: false,
  },
})
