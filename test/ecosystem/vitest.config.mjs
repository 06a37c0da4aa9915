import { defineConfig } from 'vitest/config'

/** The applications import the packages of this folder, turnpike among them. */
export default defineConfig({
  root: import.meta.dirname,
  // As Node resolves: it does not know the field `module`.
  resolve: { mainFields: ['main'] },
  test: {
    include: ['**/*.test.mjs'],
    testTimeout: 30_000,
    hookTimeout: 240_000,
    maxWorkers: 2,
  },
})
