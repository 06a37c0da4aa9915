import { defineConfig } from 'tsdown'

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
  loader: { '.lua': 'text' },
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
