import { readFileSync } from 'node:fs'
import { defineConfig } from 'tsdown'

/** A script as text, without its comments and indentation: Redis needs neither. */
const lua = {
  name: 'lua-as-text',
  load(id: string): string | undefined {
    if (!id.endsWith('.lua')) return undefined
    const code = readFileSync(id, 'utf8')
      .replace(/^\s*--.*$/gm, '')
      .replace(/^\s+/gm, '')
    return `export default ${JSON.stringify(code)}`
  },
}

export default defineConfig({
  entry: ['src/index.ts', 'src/express.ts', 'src/koa.ts', 'src/node.ts', 'src/testing.ts'],
  format: ['esm', 'cjs'],
  platform: 'node',
  target: 'node20.19',
  // isolatedDeclarations lets oxc write them; TypeScript 7 has no compiler API for anything else.
  dts: { oxc: true },
  clean: true,
  // Lines and the names of functions stay, for stack traces; the names of locals do not.
  minify: {
    compress: true,
    mangle: { toplevel: false, keepNames: true },
    codegen: { removeWhitespace: false },
  },
  plugins: [lua],
  // Nothing from node_modules is ever copied into dist: a build that would do so fails.
  deps: { onlyBundle: [] },
  outputOptions: (options, format) => ({
    ...options,
    // The declarations hold the documentation.
    comments: { legal: true, annotation: true, jsdoc: false },
    // `await import('ioredis')` as a require: a plain `import()` fails in Jest's CommonJS world.
    ...(format === 'cjs' && { dynamicImportInCjs: false }),
  }),
})
