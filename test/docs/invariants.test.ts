/** docs/invariants.md lists every collection of src/ that outlives a request, with its bound and its test. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ROOT, textOf } from './blocks.ts'

const SCRIPT = path.join(ROOT, 'scripts/collections.mjs')

function collectionsIn(...args: string[]): string[] {
  const { status, stdout, stderr } = spawnSync(process.execPath, [SCRIPT, ...args], {
    encoding: 'utf8',
  })
  expect(stderr).toBe('')
  expect(status).toBe(0)
  return stdout.split('\n').filter((line) => line !== '')
}

/** The cells of the tables' rows. */
const rows = textOf('docs/invariants.md')
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )

test('a collection of the source that is missing in the table fails', () => {
  const listed = rows.map(([name]) => name!.replaceAll('`', ''))
  expect(listed.toSorted()).toEqual(collectionsIn().toSorted())
})

test('each names what it holds, its bound, and, where it outlives a request, its test', () => {
  expect(rows.length).toBeGreaterThan(50)
  for (const [name, holds, bound, , link] of rows) {
    expect([holds, bound], name).not.toContain('')
    // The last table is of what ends with a request.
    if (link !== undefined) expect(link, name).toMatch(/^\[.+\]\(\.\.\/test\/.+\)$/)
  }
})

test('members, statics, variables of modules and what functions share are found, constants are not', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'turnpike-collections-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  mkdirSync(path.join(folder, 'src'))
  const code = `
    const known = new Map<string, number>()
    export const seen = new WeakSet()
    const list: string[] = []
    const WORDS: ReadonlySet<string> = new Set(['a'])
    const CODES = new Set([1, 2])
    const NONE: readonly never[] = []
    class Keeper {
      readonly #map = new Map<string, number>()
      static all = new Set<Keeper>()
      private queue: string[] = []
      readonly size = 5
      local() {
        return new Map()
      }
    }
    export const make = () => class Inner { readonly bounded = new BoundedMap<number>(5) }
    export function counter() {
      const counts = new Map<string, number>()
      const local = new Map<string, number>()
      local.set('a', 1)
      return (name: string) => counts.get(name)
    }`
  writeFileSync(path.join(folder, 'src/a.ts'), code)
  expect(collectionsIn(folder)).toEqual([
    'a.ts known',
    'a.ts seen',
    'a.ts list',
    'a.ts Keeper.#map',
    'a.ts Keeper.all',
    'a.ts Keeper.queue',
    'a.ts Inner.bounded',
    'a.ts counts',
  ])
})
