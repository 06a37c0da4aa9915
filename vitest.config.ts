import { readFileSync } from 'node:fs'
import { defineConfig } from 'vitest/config'

/** A `.lua` import is the file's text, as it is in the build. */
const lua = {
  name: 'lua-as-text',
  enforce: 'pre' as const,
  load(id: string): string | undefined {
    if (!id.endsWith('.lua')) return undefined
    return `export default ${JSON.stringify(readFileSync(id, 'utf8'))}`
  },
}

/** Tests and examples that import the package by its name run its source. */
const source = (file: string): string => `${import.meta.dirname}/src/${file}`

export default defineConfig({
  plugins: [lua],
  resolve: {
    alias: [
      { find: /^turnpike$/, replacement: source('index.ts') },
      { find: /^turnpike\/(\w+)$/, replacement: source('$1.ts') },
    ],
  },
  test: {
    globalSetup: 'test/support/global-setup.ts',
    include: ['test/**/*.test.ts', 'examples/**/*.test.ts'],
    testTimeout: 20_000,
    hookTimeout: 30_000,
    maxWorkers: 2,
  },
})
