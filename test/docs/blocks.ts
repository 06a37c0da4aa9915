/**
 * The code blocks of the documentation, as modules that can be type-checked and run.
 *
 * By default a `ts` or `js` block is a module that is checked and run. Words after the language change
 * that:
 *
 * - `continue`   continues the module of the block before it in the same document
 * - `file=<name>` gives the module a name that later blocks can import
 * - `test`       is a test file for vitest: its tests are run
 * - `no-run`     is type-checked only
 * - `no-check`   is left alone (other libraries' code, excerpts)
 *
 * A block may listen on any port: it gets a free one. `redis://localhost:6379` is replaced by a server of
 * the test. Comments like `// → 99` are what the block must print, in order.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

export const ROOT = join(import.meta.dirname, '../..')

/** Every document that is published with the package. */
export function documents(): string[] {
  const files = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
  const below = files
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file.replaceAll('\\', '/')}`)
  return ['README.md', ...below.toSorted()]
}

export const textOf = (document: string): string => readFileSync(join(ROOT, document), 'utf8')

/** Returns a document without its fenced blocks. */
export const withoutCode = (text: string): string =>
  text.replace(/^\s*(`{3,})[^\n]*\n[\s\S]*?^\s*\1 *$/gm, '')

/** Returns the targets of a document's links. */
export const linksIn = (text: string): string[] =>
  [
    ...withoutCode(text)
      .replace(/`[^`\n]*`/g, '``')
      .matchAll(/\]\(([^)\s]+)\)/g),
  ].map(([, target]) => target!)

export interface Block {
  language: string
  words: string[]
  /** The number of its first line in the document, from 1. */
  line: number
  code: string
}

/** One module of a document: a block and those that continue it. */
export interface Module {
  document: string
  name: string
  language: 'ts' | 'js'
  isTest: boolean
  blocks: Block[]
}

const WORDS = /^(continue|test|no-run|no-check|file=[\w.-]+\.(?:ts|mjs))$/

/** Returns the fenced blocks of a Markdown document. */
export function blocksOf(text: string): Block[] {
  const blocks: Block[] = []
  let open: (Block & { fence: string }) | undefined
  for (const [i, line] of text.split('\n').entries()) {
    const [, fence, info] = /^\s*(`{3,}|~{3,})\s*(.*)$/.exec(line) ?? []
    if (open === undefined) {
      if (fence === undefined) continue
      const [language = '', ...words] = info!.trim().split(/\s+/)
      open = { fence, language, words, line: i + 2, code: '' }
    } else if (fence?.startsWith(open.fence) && info === '') {
      const { fence: _, ...block } = open
      blocks.push(block)
      open = undefined
    } else {
      open.code += `${line}\n`
    }
  }
  if (open) throw new Error(`the block at line ${open.line} does not end`)
  return blocks
}

/** Returns the modules of a document. @throws Error for an unknown word or a continuation of nothing */
export function modulesOf(document: string): Module[] {
  const modules: Module[] = []
  for (const block of blocksOf(textOf(document))) {
    const { language, words, line } = block
    if (language !== 'ts' && language !== 'js') continue
    const odd = words.find((word) => !WORDS.test(word))
    if (odd)
      throw new Error(
        `${document}:${line}: unknown word "${odd}". test/docs/blocks.ts lists the words.`,
      )
    if (words.includes('no-check')) continue
    const last = modules.at(-1)
    if (words.includes('continue')) {
      if (!last || last.language !== language)
        throw new Error(`${document}:${line}: nothing to continue`)
      last.blocks.push(block)
      continue
    }
    const isTest = words.includes('test')
    const file = words.find((word) => word.startsWith('file='))?.slice('file='.length)
    const name = file ?? `line-${line}${isTest ? '.test' : ''}.${language}`
    modules.push({ document, name, language, isTest, blocks: [block] })
  }
  return modules
}

/** Returns the code of a module, with each line where it is in the document. */
export function sourceOf({ blocks }: Module, which: (block: Block) => boolean): string {
  let source = ''
  let at = 1
  for (const { line, code } of blocks.filter(which)) {
    source += '\n'.repeat(line - at) + code
    at = line + code.split('\n').length - 1
  }
  return source
}

export const isRun = (block: Block): boolean => !block.words.includes('no-run')

/** Writes a module below `folder` of .cache/docs. Returns its path, undefined if there is nothing to write. */
export function write(folder: string, module: Module, source: string): string | undefined {
  if (source.trim() === '') return undefined
  const path = join(ROOT, '.cache/docs', folder, module.document.replace(/\.md$/, ''), module.name)
  mkdirSync(dirname(path), { recursive: true })
  // `export {}`: a module, even if it imports nothing.
  writeFileSync(path, `${source}\nexport {}\n`)
  return path
}

export function clear(folder: string): void {
  rmSync(join(ROOT, '.cache/docs', folder), { recursive: true, force: true })
}

/** Returns what a module must print. */
export const printed = (source: string): string[] =>
  [...source.matchAll(/\/\/ → (.*)$/gm)].map(([, text]) => text!.trim())
