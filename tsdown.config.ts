import { readFileSync } from 'node:fs'
import { defineConfig, type UserConfig } from 'tsdown'
import { browserScript } from './scripts/browser-script.mjs'

/** A script as a string, without its comments. */
const lua = {
  name: 'lua-as-string',
  load(id: string): string | undefined {
    if (!id.endsWith('.lua')) return undefined
    const script = readFileSync(id, 'utf8').replace(/^\s*--.*\n/gm, '')
    return `export default \`${script.replace(/[\\`]|\$\{/g, (sign) => `\\${sign}`)}\``
  },
}

const entry = {
  index: 'src/index.ts',
  express: 'src/express.ts',
  'express/session': 'src/express/session.ts',
  koa: 'src/koa.ts',
  'koa/session': 'src/koa/session.ts',
  node: 'src/node.ts',
  testing: 'src/testing.ts',
  extension: 'src/extension.ts',
  jobs: 'src/jobs.ts',
  tokens: 'src/tokens.ts',
  collections: 'src/collections.ts',
  flags: 'src/flags.ts',
  otel: 'src/otel.ts',
  realtime: 'src/realtime.ts',
}

/**
 * Readable JavaScript: not minified, with the comments and names of the source. The source maps lead
 * to src/, which the package contains.
 */
const config = (extension: 'mjs' | 'cjs'): UserConfig => ({
  platform: 'node',
  target: 'node20.19',
  // isolatedDeclarations lets oxc write them; TypeScript 7 has no compiler API for anything else.
  dts: { oxc: true, entry: Object.values(entry) },
  clean: [
    `dist/**/*.${extension}`,
    `dist/**/*.${extension}.map`,
    `dist/**/*.d.${extension.replace('js', 'ts')}`,
  ],
  sourcemap: true,
  hash: false,
  plugins: [lua, browserScript],
  // Nothing from node_modules is ever copied into dist: a build that would do so fails.
  deps: { onlyBundle: [] },
  outputOptions: {
    chunkFileNames: `shared/[name].${extension}`,
    sourcemapExcludeSources: true,
    // `await import('ioredis')` as a require: a plain `import()` fails in Jest's CommonJS world.
    ...(extension === 'cjs' && { dynamicImportInCjs: false }),
  },
})

export default defineConfig([
  // The program is loaded by Node alone: it needs no second copy.
  { ...config('mjs'), format: 'esm', entry: { ...entry, cli: 'src/cli/main.ts' } },
  { ...config('cjs'), format: 'cjs', entry },
])
