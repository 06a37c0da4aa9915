/**
 * docs/reference/ is what the docstrings say. `npm run docs:reference` writes it. Every public name,
 * option and method is in it.
 */
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { SymbolFlags, type Symbol as Name } from 'typescript/unstable/sync'
import { afterAll, describe, expect, it } from 'vitest'
import { ROOT, textOf } from './blocks.ts'
import { closeCompiler, entries, exportsOf, membersOfExport } from './reference/compiler.ts'
import { AREA_BY_FEATURE } from '../../src/store/keys.ts'
import { ENVIRONMENT, HEADERS, KEYS, sources } from './reference/lists.ts'
import { memberHeading } from './reference/markdown.ts'
import { REFERENCE_PAGES } from './reference/pages.ts'
import { placedNames, referencePages } from './reference/write.ts'

afterAll(closeCompiler)

const names = placedNames()
const written = referencePages(names)

it.each([...written])('docs/reference/%s is up to date', async (file, text) => {
  await expect(text).toMatchFileSnapshot(`../../docs/reference/${file}`)
})

it('docs/reference/ has no other pages', () => {
  const files = readdirSync(path.join(ROOT, 'docs/reference'))
  expect(files.toSorted()).toEqual([...written.keys()].toSorted())
})

/** Returns the sections of a page by their names. */
function sectionsOf(file: string): Map<string, string> {
  const sections = written.get(file)!.split(/^## /m).slice(1)
  return new Map(sections.map((text) => [text.slice(0, text.indexOf('\n')), text]))
}

const sections = new Map(
  REFERENCE_PAGES.flatMap(({ file }) =>
    [...sectionsOf(`${file}.md`)].map(([name, text]) => [`${file}#${name}`, text] as const),
  ),
)

/** Returns the section of a public name. `turnpike` has one for each framework. */
function sectionOf(name: string, symbol: Name): string {
  const page = names.find((each) => each.symbol === symbol)?.page.file
  const text = sections.get(`${page}#${name}`)
  if (text === undefined) throw new Error(`no page has the section ${name}`)
  return text
}

const isMethod = (member: Name): boolean => (member.flags & SymbolFlags.Method) !== 0

/** Returns true if a section, or that of a name which it extends, has the member. */
function shows(name: string, symbol: Name, member: Name): boolean {
  const text = sectionOf(name, symbol)
  const heading = memberHeading(name, { name: member.name, isMethod: isMethod(member) })
  if (text.includes(`\n${heading}\n`)) return true
  // A type is shown as it is declared.
  if (text.startsWith(`${name}\n\nType `)) return true
  const [, bases = ''] = /^It also has the members of (.*)\.$/m.exec(text) ?? []
  return [...bases.matchAll(/\[(\w+)\]/g)].some(([, base]) => {
    const found = names.find(({ entry }) => entry.name === base)
    return found !== undefined && shows(base!, found.symbol, member)
  })
}

describe.each(entries)('the reference of src/%s.ts', (entry) => {
  const exported = [...exportsOf(entry)]

  it('has a section for each name', () => {
    expect(exported.length).toBeGreaterThan(0)
    for (const [name, symbol] of exported) expect(sectionOf(name, symbol)).toContain('Since: ')
  })

  it('has every option, method and property', () => {
    const missing = exported.flatMap(([name, symbol]) =>
      membersOfExport(symbol)
        .filter((member) => member.name !== 'prototype' && !shows(name, symbol, member))
        .map((member) => `${name}.${member.name}`),
    )
    expect(missing).toEqual([])
  })
})

it('states the type, the default and the version of every option', () => {
  const options = names.filter(
    ({ entry }) => entry.name.endsWith('Options') && entry.kind === 'interface',
  )
  expect(options.length).toBeGreaterThan(50)
  let count = 0
  for (const { entry, page } of options) {
    const section = sections.get(`${page.file}#${entry.name}`)!
    for (const member of entry.members.filter((each) => !each.isMethod)) {
      const heading = memberHeading(entry.name, member)
      const [, facts = ''] = section.split(`${heading}\n`)
      const [text = ''] = facts.split('\n###')
      expect(`${heading}: ${text}`).toMatch(/Default: |required|optional/)
      expect(`${heading}: ${text}`).toMatch(/Since: \d+\.\d+\.\d+/)
      expect(`${heading}: ${text}`).toMatch(/Type: |```ts/)
      count += 1
    }
  }
  expect(count).toBeGreaterThan(300)
})

describe('the lists', () => {
  const code = sources()
  const all = [...code.values()].join('\n')
  const found = (pattern: RegExp): Set<string> =>
    new Set([...all.matchAll(pattern)].map(([, name]) => name!))

  it('have every environment variable that the source reads, and no other', () => {
    const read = new Set([
      ...found(/\benv\['([A-Z][A-Z0-9_]+)'\]/g),
      ...found(/file\('\w+', '([A-Z_]+)', env\)/g),
      ...found(/\{ ([A-Z_]+): \w+ \} = process\.env/g),
    ])
    expect(ENVIRONMENT.rows.map(([name]) => name).toSorted()).toEqual([...read].toSorted())
  })

  it('agree with docs/store.md about variables', () => {
    const [, section = ''] = /\n## Environment\n([\s\S]*?)\n## /.exec(textOf('docs/store.md')) ?? []
    const named = [...section.matchAll(/^\| (.*?) \|/gm)].flatMap(([, cell]) =>
      [...cell!.matchAll(/`([A-Z_]+)`/g)].map(([, name]) => name),
    )
    expect(named.length).toBeGreaterThan(5)
    const listed = ENVIRONMENT.rows.map(([name]) => name)
    expect(named.filter((name) => !listed.includes(name!))).toEqual([])
  })

  it('have every name of keys, and no other', () => {
    const used = new Set([
      ...Object.keys(AREA_BY_FEATURE),
      ...found(/\.key\(\s*'([a-z-]+)'/g),
      ...found(/new Collection\(context, '([a-z]+)'/g),
    ])
    const rows = KEYS.rows.map(([name]) => name)
    expect(rows.filter((name, i) => rows.indexOf(name) < i)).toEqual([])
    const listed = new Set(rows.map((name) => name.replace(/^\w+:/, '')))
    expect([...listed].toSorted()).toEqual([...used].toSorted())
    const builtIn = KEYS.rows.map(([name]) => name).filter((name) => !name.includes(':'))
    expect(builtIn.toSorted()).toEqual(Object.keys(AREA_BY_FEATURE).toSorted())
  })

  it('have every header field that the source writes, and none that it does not know', () => {
    const listed = new Set(HEADERS.rows.map(([name]) => name))
    const written = found(/'([A-Z][A-Za-z]*(?:-[A-Z][A-Za-z]*)+)'/g)
    expect([...written].filter((name) => !listed.has(name))).toEqual([])
    const known = all.toLowerCase()
    expect([...listed].filter((name) => !known.includes(name.toLowerCase()))).toEqual([])
  })
})
