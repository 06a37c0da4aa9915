import { defineConfig } from 'vitest/config'
import shared from '../../../vitest.config.ts'

/** `npm run test:transparency`: more random programs than each run of the tests has time for. */
export default defineConfig({
  ...shared,
  test: {
    include: ['test/frameworks/transparency.test.ts'],
    env: { PROGRAMS: process.env.PROGRAMS ?? '100000' },
    globalSetup: 'test/support/global-setup.ts',
    root: `${import.meta.dirname}/../../..`,
    hookTimeout: 30_000,
  },
})
