/** Puts the reference together: each page with its names, and the index of all names. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { Symbol as Name } from 'typescript/unstable/sync'
import { anchorOf } from '../../../.vitepress/links.ts'
import { titleOf } from '../../../.vitepress/pages.ts'
import { ROOT } from '../blocks.ts'
import { entries, exportsOf } from './compiler.ts'
import { LISTS, listPage } from './lists.ts'
import { nameSection, prose, type LinkOf } from './markdown.ts'
import { callDocumentation, entryOf, mentionedTypes, type NameEntry } from './model.ts'
import { pageOf, REFERENCE_PAGES, type ReferencePage } from './pages.ts'

/** Shown at the top of every page. */
export const WRITTEN =
  '<!-- Written by `npm run docs:reference` from the docstrings in src/. Change them there. -->'

const LISTED =
  '<!-- Written by `npm run docs:reference` from test/docs/reference/lists.ts. Change it there. -->'

const importName = (entry: string): string => (entry === 'index' ? 'turnpike' : `turnpike/${entry}`)

/** A name of the reference. */
export interface PlacedName {
  readonly entry: NameEntry
  readonly symbol: Name
  readonly page: ReferencePage
  /** What one may import it from. */
  readonly importedFrom: readonly string[]
}

/** The order in which entries are asked for a name. The frameworks export all of `turnpike`. */
const ORDER = ['index', 'express', 'koa', 'node', 'extension', 'testing']
const ordered = [...ORDER, ...entries.filter((entry) => !ORDER.includes(entry))]

/** Returns every exported name. `turnpike` of each framework is a name of its own. */
export function placedNames(): PlacedName[] {
  const found = new Map<Name, { name: string; from: string[] }>()
  for (const entry of ordered)
    for (const [name, symbol] of exportsOf(entry)) {
      const known = found.get(symbol)
      if (known) known.from.push(importName(entry))
      else found.set(symbol, { name, from: [importName(entry)] })
    }
  const symbols = new Map([...found].map(([symbol, { name }]) => [name, symbol]))
  const names = [...found].map(([symbol, { name, from }]): PlacedName => {
    const entry = entryOf(name, symbol, symbols)
    return { entry, symbol, page: pageOf(entry, from[0]!), importedFrom: from }
  })
  return [...names, ...innerNames(names, symbols)]
}

/** Returns the types that declarations of public names mention, and that no entry exports. */
function innerNames(
  names: readonly PlacedName[],
  symbols: ReadonlyMap<string, Name>,
): readonly PlacedName[] {
  const found = new Map<Name, PlacedName>()
  for (const { entry, symbol, page } of names) {
    for (const inner of mentionedTypes(entry, symbol)) {
      if (symbols.has(inner.name) || found.has(inner)) continue
      const place = { entry: entryOf(inner.name, inner, symbols), symbol: inner, importedFrom: [] }
      found.set(inner, { ...place, page })
    }
  }
  return [...found.values()]
}

/** Entries that pass on all of another one are not named again. */
function shownEntries(from: readonly string[]): readonly string[] {
  const frameworks = ['turnpike/express', 'turnpike/koa', 'turnpike/node']
  return from.includes('turnpike') ? from.filter((entry) => !frameworks.includes(entry)) : from
}

const moduleText = (page: ReferencePage): string => {
  if (page.summary !== '') return page.summary
  const file = path.join(ROOT, 'src', `${page.file}.ts`)
  const [, comment = ''] = /^\/\*\*([\s\S]*?)\*\//.exec(readFileSync(file, 'utf8')) ?? []
  return comment.replaceAll(/^\s*\* ?/gm, '').trim()
}

const guideTitle = (guide: string): string => titleOf(`docs/${guide.replace(/#.*/, '')}`)

/** Returns the links from a page to the names. */
function linksFrom(page: string, names: readonly PlacedName[]): LinkOf {
  const places = new Map<string, string>()
  // Of two types with the same name a page means its own.
  for (const each of names.toSorted(
    (a, b) => Number(a.page.file === page) - Number(b.page.file === page),
  ))
    places.set(
      each.entry.name,
      `${each.page.file === page ? '' : `${each.page.file}.md`}#${anchorOf(each.entry.name)}`,
    )
  // Each framework has one.
  places.delete('turnpike')
  const instance = names.find(({ entry }) => entry.name === 'Turnpike')!
  for (const { name, isMethod } of instance.entry.members) {
    const file = page === instance.page.file ? '' : `${instance.page.file}.md`
    const shown = `tp.${name}${isMethod ? '()' : ''}`
    for (const call of [shown, `tp.${name}()`]) places.set(call, `${file}#${anchorOf(shown)}`)
  }
  return (name) => places.get(name)
}

/** Functions first, then classes, then types. Within a kind in the order of the source. */
const RANK = { function: 0, constant: 0, class: 1, interface: 2, type: 2 } as const

const byRank = (one: PlacedName, other: PlacedName): number =>
  Number(other.entry.name === 'Turnpike') - Number(one.entry.name === 'Turnpike') ||
  RANK[one.entry.kind] - RANK[other.entry.kind]

function referencePage(page: ReferencePage, names: readonly PlacedName[]): string {
  const linkOf = linksFrom(page.file, names)
  const own = names.filter((each) => each.page === page).toSorted(byRank)
  const elsewhere = names.filter(
    ({ page: other, importedFrom }) =>
      other !== page && page.entry !== 'turnpike' && importedFrom.includes(page.entry),
  )
  const others = FRAMEWORKS.has(page.file)
    ? 'It also exports everything of `turnpike`: see the [list of all names](index.md#all-names).'
    : elsewhere.length > 0
      ? `It also exports ${elsewhere.map(({ entry }) => `[${entry.name}](${linkOf(entry.name)})`).join(', ')}.`
      : undefined
  return `${[
    `# ${page.title}`,
    WRITTEN,
    prose(moduleText(page), linkOf),
    ...(page.guide ? [`How to use it: [${guideTitle(page.guide)}](../${page.guide}).`] : []),
    ...(others ? [others] : []),
    ...own.map(({ entry, symbol, importedFrom }) =>
      nameSection(entry, callDocumentation(symbol), shownEntries(importedFrom), linkOf),
    ),
  ].join('\n\n')}\n`
}

const FRAMEWORKS = new Set(['express', 'koa', 'node'])

/** Returns docs/reference/index.md. */
function indexPage(names: readonly PlacedName[]): string {
  const linkOf = linksFrom('index', names)
  const rows = REFERENCE_PAGES.map(
    (page) =>
      `| [${page.title}](${page.file}.md) | \`${page.entry}\` | ${prose(moduleText(page).replaceAll('\n', ' '), linkOf)} |`,
  )
  const sections = REFERENCE_PAGES.map((page) => {
    const own = names
      .filter((each) => each.page === page)
      .map(({ entry }) => {
        const link = linkOf(entry.name) ?? `${page.file}.md#${anchorOf(entry.name)}`
        return `[${entry.name}](${link})`
      })
    return `**${page.title}**: ${own.toSorted().join(', ')}`
  })
  return `${[
    '# Reference',
    WRITTEN,
    'Every entry of the package, every exported name, option and method, from the documentation in the source.',
    ['| page | import from | what |', '|---|---|---|', ...rows].join('\n'),
    '## Lists',
    [
      ...LISTS.map(({ file, title }) => `- [${title}](${file}.md)`),
      '- [Errors](../errors.md)',
      '- [Metrics](../metrics.md)',
      '- [Commands of the command line](../cli.md)',
    ].join('\n'),
    '## All names',
    ...sections,
  ].join('\n\n')}\n`
}

/** Returns the pages that are made from docstrings, by their files in docs/reference/. */
export function referencePages(names: readonly PlacedName[]): Map<string, string> {
  return new Map([
    ['index.md', indexPage(names)],
    ...LISTS.map((list): [string, string] => [`${list.file}.md`, listPage(list, LISTED)]),
    ...REFERENCE_PAGES.map((page): [string, string] => [
      `${page.file}.md`,
      referencePage(page, names),
    ]),
  ])
}
