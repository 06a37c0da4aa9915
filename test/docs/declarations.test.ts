/** Editors show the documentation of every public name. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import {
  API,
  SymbolFlags,
  type Symbol as Name,
  type Type,
  type UnionType,
} from 'typescript/unstable/sync'

const ROOT = path.join(import.meta.dirname, '../..')
const { exports } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
  exports: Record<string, unknown>
}
const entries = Object.entries(exports)
  .filter(([, target]) => typeof target === 'object')
  .map(([name]) => (name === '.' ? 'index' : name.slice(2)))

const api = new API({ cwd: ROOT })
afterAll(() => api.close())
const config = path.join(ROOT, 'tsconfig.json')
const project = api.updateSnapshot({ openProjects: [config] }).getProjects()[0]!
const { checker, program } = project

/** A public name, for example `LockOptions.lease`, with its documentation. */
interface PublicName {
  name: string
  text: string
  tags: readonly string[]
  isOptional: boolean
}

const isOurs = ({ declarations }: Name): boolean =>
  declarations.length > 0 &&
  declarations.every((each) => each.path.toLowerCase().startsWith(`${ROOT}/src/`.toLowerCase()))

/** Returns a name's documentation, else that of the interfaces which its class implements. */
function documented(name: string, symbol: Name): PublicName {
  const all = [symbol, ...inherited(symbol)]
  return {
    name,
    text: all.map((each) => checker.getDocumentationCommentOfSymbol(each)).find(Boolean) ?? '',
    tags: all.flatMap((each) => checker.getJsDocTagsOfSymbol(each)).map((tag) => tag.name),
    isOptional: (symbol.flags & SymbolFlags.Optional) !== 0,
  }
}

function inherited(symbol: Name): Name[] {
  const declaration = symbol.getParent?.()?.declarations[0]?.resolve(project)
  const clauses = (declaration as any)?.heritageClauses ?? []
  return [...clauses]
    .flatMap(({ types }) => [...types])
    .flatMap((each) => {
      const type = checker.getTypeAtLocation(each)
      const base = type && checker.getPropertyOfType(type, symbol.name)
      return base ? [base, ...inherited(base)] : []
    })
}

function* membersOf(name: string, type: Type | undefined): Generator<PublicName> {
  const parts = (type as UnionType | undefined)?.getTypes?.()
  const types = parts ?? (type ? [type] : [])
  for (const member of types.flatMap((each) => checker.getPropertiesOfType(each)))
    if (isOurs(member) && !member.name.startsWith('__'))
      yield documented(`${name}.${member.name}`, member)
}

function* namesOf(entry: string): Generator<PublicName> {
  const file = program.getSourceFile(path.join(ROOT, 'src', `${entry}.ts`))
  const module = file && checker.getSymbolAtLocation(file)
  for (const exported of module ? checker.getExportsOfModule(module) : []) {
    const isAlias = (exported.flags & SymbolFlags.Alias) !== 0
    const symbol = isAlias ? checker.getAliasedSymbol(exported) : exported
    if (!isOurs(symbol)) continue
    yield documented(exported.name, symbol)
    yield* membersOf(exported.name, checker.getDeclaredTypeOfSymbol(symbol))
    if (symbol.valueDeclaration) yield* membersOf(exported.name, checker.getTypeOfSymbol(symbol))
  }
}

describe.each(entries)('turnpike/%s', (entry) => {
  const names = [...new Map([...namesOf(entry)].map((each) => [each.name, each])).values()]

  test('documents every name', () => {
    const missing = names.filter(({ text, tags }) => text === '' && tags.length === 0)
    expect(missing.map(({ name }) => name)).toEqual([])
  })

  test('states the default of every option that may be omitted', () => {
    const missing = names.filter(
      ({ name, tags, isOptional, text }) =>
        isOptional &&
        /Options\.\w+$/.test(name) &&
        !tags.includes('default') &&
        !/required/i.test(text),
    )
    expect(missing.map(({ name }) => name)).toEqual([])
  })
})

test('the entries have names', () => {
  const names = entries.map((entry) => [...namesOf(entry)].length)
  expect(Math.max(...names)).toBeGreaterThan(500)
})
