/** Lists of the documentation against the source that they repeat. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parseSync } from 'oxc-parser'
import { expect, test } from 'vitest'
import { AREAS } from '../../src/store/areas.ts'
import { databaseOf } from '../../src/store/stores.ts'
import { ROOT, textOf } from './blocks.ts'

const sources = readdirSync(path.join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => readFileSync(path.join(ROOT, 'src', file), 'utf8'))

/** The names of the options that an interface declares. */
function optionsOf(file: string, name: string): string[] {
  const { program } = parseSync(file, readFileSync(path.join(ROOT, 'src', file), 'utf8'))
  const [found] = program.body.flatMap((node) => {
    const declared = node.type === 'ExportNamedDeclaration' ? node.declaration : undefined
    return declared?.type === 'TSInterfaceDeclaration' && declared.id.name === name
      ? [declared.body.body]
      : []
  })
  return (found ?? []).map((member: any) => member.key.name)
}

/** The first cells of a table in docs/store.md whose head begins with `head`. */
function rowsOf(head: string): string[] {
  const text = textOf('docs/store.md')
  const table = text.slice(text.indexOf(`\n| ${head} |`)).split('\n\n')[0]!
  return [...table.matchAll(/^\| ([^|]+) \|/gm)]
    .slice(1)
    .flatMap(([, cell]) => [...cell!.matchAll(/`([^`]+)`/g)].map(([, name]) => name!))
}

test('docs/store.md has each option of turnpike(), and no other', () => {
  expect(rowsOf('option').toSorted()).toEqual(
    optionsOf('turnpike.ts', 'TurnpikeOptions').toSorted(),
  )
})

test('docs/store.md has each option of tp.health(), and no other', () => {
  expect(rowsOf('option of `tp.health()`').toSorted()).toEqual(
    optionsOf('features/health/index.ts', 'HealthOptions').toSorted(),
  )
})

test('docs/store.md has each area', () => {
  const [, list] = /The areas are (.+?)\. /.exec(textOf('docs/store.md'))!
  const named = [...list!.matchAll(/`(\w+)`/g)].map(([, name]) => name!)
  expect(named.toSorted()).toEqual([...AREAS].toSorted())
})

test('docs/store.md has each variable of the environment that the source reads', () => {
  const names = sources.flatMap((text) => {
    const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, '')
    return [...code.matchAll(/(?:env\[|, )'((?:REDIS|TURNPIKE|DEBUG|NODE|RESPONSE)_?[A-Z_]*)'/g)]
  })
  const read = new Set(names.map(([, name]) => name!))
  expect(read.size).toBeGreaterThan(8)
  expect(new Set(rowsOf('variable'))).toEqual(read)
})

test("docs/store.md names the database of each area with layout: 'databases'", () => {
  const [row = ''] = /^\| `databases` \|.*$/m.exec(textOf('docs/store.md')) ?? []
  const named = new Map([...row.matchAll(/(\w+) (\d+)/g)].map(([, area, db]) => [area, Number(db)]))
  const documented = AREAS.map((area) => [area, named.get(area) ?? named.get('others')])
  expect(documented).toEqual(AREAS.map((area) => [area, databaseOf(area)]))
})
