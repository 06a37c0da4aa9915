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

export default defineConfig({
  plugins: [lua],
  test: {
    include: ['test/**/*.test.ts', 'examples/**/*.test.ts'],
    testTimeout: 20_000,
    hookTimeout: 30_000,
    maxWorkers: 2,
  },
})
