import { readFileSync } from 'node:fs'
import { defineConfig } from 'vitest/config'
import { browserScript } from './scripts/browser-script.mjs'

/** A `.lua` import is the script without its comments, as in the build: no script may depend on one. */
const lua = {
  name: 'lua-as-string',
  enforce: 'pre' as const,
  load(id: string): string | undefined {
    if (!id.endsWith('.lua')) return undefined
    const script = readFileSync(id, 'utf8').replace(/^\s*--.*\n/gm, '')
    return `export default ${JSON.stringify(script)}`
  },
}

/** Tests and examples that import the package by name use its source. */
const source = (file: string): string => `${import.meta.dirname}/src/${file}`

/** Tests of timeouts. They run alone, because a loaded machine changes what they measure. */
const TIMED = [
  'test/faults/**/*.test.ts',
  'test/hostile/connections.test.ts',
  'test/store/guard.test.ts',
  'test/topologies/failover.test.ts',
  'test/topologies/migration.test.ts',
  'test/features/rate-limit/flexible-redis.test.ts',
  'test/extensions/tokens/redis.test.ts',
  'test/documents/redis.test.ts',
  'test/extensions/collections/redis.test.ts',
  'test/extensions/flags/redis.test.ts',
  'test/extensions/jobs/redis.test.ts',
]

export default defineConfig({
  plugins: [lua, browserScript],
  resolve: {
    alias: [
      { find: /^turnpike$/, replacement: source('index.ts') },
      { find: /^turnpike\/([\w/]+)$/, replacement: source('$1.ts') },
    ],
  },
  test: {
    globalSetup: 'test/support/global-setup.ts',
    testTimeout: 20_000,
    hookTimeout: 30_000,
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: {
          name: 'behavior',
          include: ['test/**/*.test.ts', 'examples/**/*.test.ts'],
          // The ecosystem has packages of its own: npm run test:ecosystem.
          exclude: [...TIMED, 'test/ecosystem/**'],
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'timed',
          include: TIMED,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
