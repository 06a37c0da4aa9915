/** The public names of the package, as the compiler sees them. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import {
  API,
  SymbolFlags,
  type Symbol as Name,
  type Type,
  type UnionType,
} from 'typescript/unstable/sync'
import { ROOT } from '../blocks.ts'

const { exports } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
  exports: Record<string, unknown>
}

/** The entries of the package by the names of their files: `index`, `express`, `tokens` ... */
export const entries: readonly string[] = Object.entries(exports)
  .filter(([, target]) => typeof target === 'object')
  .map(([name]) => (name === '.' ? 'index' : name.slice(2)))

const api = new API({ cwd: ROOT })
/** Ends the compiler's process. */
export const closeCompiler = (): void => api.close()

const config = path.join(ROOT, 'tsconfig.json')
export const project = api.updateSnapshot({ openProjects: [config] }).getProjects()[0]!
export const { checker, program } = project

/** The documentation of a name. */
export interface Documentation {
  readonly text: string
  readonly tags: readonly { readonly name: string; readonly text: string }[]
}

/** Returns true for names that src/ declares. */
export const isOurs = ({ declarations }: Name): boolean =>
  declarations.length > 0 &&
  declarations.every((each) => each.path.toLowerCase().startsWith(`${ROOT}/src/`.toLowerCase()))

/** Returns a name's documentation, else that of the interfaces which its class implements. */
export function documentationOf(symbol: Name): Documentation {
  const all = [symbol, ...inherited(symbol)]
  return {
    text: all.map((each) => checker.getDocumentationCommentOfSymbol(each)).find(Boolean) ?? '',
    tags: all
      .flatMap((each) => checker.getJsDocTagsOfSymbol(each))
      .map(({ name, text }) => ({ name, text: typeof text === 'string' ? text : '' })),
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

/** Returns the members of a type that src/ declares. Those of a union are the members of its parts. */
export function membersOf(type: Type | undefined): Name[] {
  const parts = (type as UnionType | undefined)?.getTypes?.()
  const types = parts ?? (type ? [type] : [])
  const members = types.flatMap((each) => checker.getPropertiesOfType(each))
  return members.filter((member) => isOurs(member) && !member.name.startsWith('__'))
}

export const isOptional = (symbol: Name): boolean => (symbol.flags & SymbolFlags.Optional) !== 0

/** Returns what an entry exports and src/ declares, by the exported names. */
export function exportsOf(entry: string): Map<string, Name> {
  const file = program.getSourceFile(path.join(ROOT, 'src', `${entry}.ts`))
  const module = file && checker.getSymbolAtLocation(file)
  return new Map(
    (module ? checker.getExportsOfModule(module) : [])
      .map((exported): [string, Name] => {
        const isAlias = (exported.flags & SymbolFlags.Alias) !== 0
        return [exported.name, isAlias ? checker.getAliasedSymbol(exported) : exported]
      })
      .filter(([, symbol]) => isOurs(symbol)),
  )
}

/** Returns the members of an exported name: those of its type, then those of its value. */
export function membersOfExport(symbol: Name): Name[] {
  const value = symbol.valueDeclaration ? membersOf(checker.getTypeOfSymbol(symbol)) : []
  return [...membersOf(checker.getDeclaredTypeOfSymbol(symbol)), ...value]
}
