import { readFileSync } from 'node:fs'
import { defineConfig } from 'tsdown'

/** A script as text, without its comments, its indentation and most of its blanks: Redis needs none of them. */
const lua = {
  name: 'lua-as-text',
  load(id: string): string | undefined {
    if (!id.endsWith('.lua')) return undefined
    const code = readFileSync(id, 'utf8')
      .replace(/^\s*--.*$/gm, '')
      .replace(/^\s+/gm, '')
      .replace(TEXT_OR_BLANKS, (_all, text?: string, sign?: string) => text ?? sign!)
    return `export default ${JSON.stringify(code)}`
  },
}

/** A literal, as it is; or a sign with blanks around it. Not `-` (two begin a comment), nor `..` (behind a digit a fraction). */
const TEXT_OR_BLANKS = /('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")| *([=,<>~+*/(){}]+) */g

interface Node {
  type: string
  start: number
  [name: string]: unknown
}

/** New lines at statements, class members and cases: whoever follows a stack trace finds a short one. */
const LINE = 80
const lines = {
  name: 'a-line-each',
  generateBundle(
    this: { parse(code: string): unknown },
    _options: unknown,
    bundle: Record<string, { code?: string }>,
  ): void {
    for (const [file, chunk] of Object.entries(bundle)) {
      if (chunk.code === undefined || /\.d\.[cm]?ts$/.test(file)) continue
      const { code } = chunk
      const starts = [...statements(this.parse(code) as Node)].sort((a, b) => a - b)
      let [text, line] = ['', 0]
      for (const [i, from] of [0, ...starts].entries()) {
        if (text.length - line >= LINE) line = (text += '\n').length
        text += code.slice(from, starts[i])
      }
      chunk.code = text
    }
  },
}

/** The names under which a syntax tree has such lists. */
const LISTS = new Set(['body', 'consequent', 'cases'])

/** Where the members of all lists of statements begin: a line break may stand before each. */
function* statements(node: Node): Generator<number> {
  for (const [name, value] of Object.entries(node)) {
    const isList = Array.isArray(value) && LISTS.has(name)
    for (const child of [value].flat() as Node[]) {
      if (typeof child?.type !== 'string') continue
      if (isList) yield child.start
      yield* statements(child)
    }
  }
}

export default defineConfig({
  entry: [
    'src/index.ts',
    'src/express.ts',
    'src/koa.ts',
    'src/node.ts',
    'src/testing.ts',
    'src/extension.ts',
  ],
  format: ['esm', 'cjs'],
  platform: 'node',
  target: 'node20.19',
  // isolatedDeclarations lets oxc write them; TypeScript 7 has no compiler API for anything else.
  dts: { oxc: true },
  clean: true,
  // The names of functions and classes stay, for stack traces, and so do lines, see above.
  minify: {
    compress: true,
    mangle: { toplevel: false, keepNames: true },
    codegen: { removeWhitespace: true },
  },
  plugins: [lua, lines],
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
