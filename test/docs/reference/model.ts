/** What the reference says of each public name: its kind, its declaration, its members. */
import path from 'node:path'
import { SyntaxKind, type Node } from 'typescript/unstable/ast'
import { SymbolFlags, type Symbol as Name } from 'typescript/unstable/sync'
import { ROOT } from '../blocks.ts'
import {
  checker,
  documentationOf,
  isOptional,
  isOurs,
  membersOfExport,
  project,
  type Documentation,
} from './compiler.ts'

/** A member of a name, for example `LockOptions.lease`. */
export interface MemberEntry extends Documentation {
  readonly name: string
  /** Each overload of a method, or the type of a property. */
  readonly declarations: readonly string[]
  readonly isMethod: boolean
  readonly isOptional: boolean
}

export type EntryKind = 'function' | 'class' | 'interface' | 'type' | 'constant'

/** A public name with its members. */
export interface NameEntry extends Documentation {
  readonly name: string
  readonly kind: EntryKind
  /** The file that declares it, below src/. */
  readonly file: string
  /** The declaration, without members that are listed. */
  readonly declaration: string
  /** The names that it extends. Their members are not repeated. */
  readonly bases: readonly string[]
  readonly members: readonly MemberEntry[]
}

const KINDS = new Map<SyntaxKind, EntryKind>([
  [SyntaxKind.FunctionDeclaration, 'function'],
  [SyntaxKind.ClassDeclaration, 'class'],
  [SyntaxKind.InterfaceDeclaration, 'interface'],
  [SyntaxKind.TypeAliasDeclaration, 'type'],
  [SyntaxKind.VariableDeclaration, 'constant'],
])

/** The parts of a syntax node that declarations have. */
interface Declaration extends Node {
  type?: Node
  body?: Node
  members?: Iterable<Node>
  heritageClauses?: Iterable<{ types: Iterable<{ expression: Node; typeArguments?: unknown }> }>
}

const declarationsOf = (symbol: Name): Declaration[] =>
  symbol.declarations.flatMap((each) => each.resolve(project) ?? [])

/** Names whose members are all listed, those of their bases included. */
const COMPLETE = new Set(['Turnpike'])

/** Returns what a public name is. @param names all public names */
export function entryOf(name: string, symbol: Name, names: ReadonlyMap<string, Name>): NameEntry {
  const [declaration] = declarationsOf(symbol)
  if (declaration === undefined) throw new Error(`${name} has no declaration`)
  const kind = KINDS.get(declaration.kind)
  if (kind === undefined) throw new Error(`${name} is a ${SyntaxKind[declaration.kind]}`)
  const bases = COMPLETE.has(name) ? [] : basesOf(declaration).filter((base) => names.has(base))
  const inherited = bases.flatMap((base) => membersOfExport(names.get(base)!))
  return {
    ...documentationOf(symbol),
    name,
    kind,
    file: path.relative(path.join(ROOT, 'src'), declaration.getSourceFile().fileName),
    declaration: declarationText(kind, declaration, symbol),
    bases,
    members: kind === 'type' ? [] : ownMembers(symbol, new Set(inherited.map((each) => each.name))),
  }
}

/** Returns the names after `extends`, except those of computed types. */
function basesOf({ heritageClauses = [] }: Declaration): string[] {
  return [...heritageClauses].flatMap(({ types }) =>
    [...types].map(({ expression }) => expression.getText()),
  )
}

/** Returns the members that a name does not have from a public base. */
function ownMembers(symbol: Name, inherited: ReadonlySet<string>): MemberEntry[] {
  const seen = new Set<string>()
  const isOwn = (member: Name): boolean => member.getParent()?.name === symbol.name
  return membersOfExport(symbol)
    .filter((member) => isOwn(member) || !inherited.has(member.name))
    .filter(({ name }) => name !== 'prototype' && !seen.has(name) && seen.add(name))
    .filter((member) => !declarationsOf(member).some(isHidden))
    .map((member) => memberOf(member))
}

function isHidden(node: Declaration): boolean {
  return /^(private|protected|#|static #|declare private)/.test(node.getText())
}

const METHODS = new Set([
  SyntaxKind.MethodSignature,
  SyntaxKind.MethodDeclaration,
  SyntaxKind.FunctionDeclaration,
])

function memberOf(member: Name): MemberEntry {
  const nodes = declarationsOf(member)
  const isMethod = nodes.some(({ kind }) => METHODS.has(kind))
  return {
    ...documentationOf(member),
    name: member.name,
    declarations: [
      ...new Set(nodes.map((node) => (isMethod ? head(node) : typeText(node, member)))),
    ],
    isMethod,
    isOptional: isOptional(member),
  }
}

/** Returns a declaration without its body. */
function head(node: Declaration): string {
  const text = node.getText()
  const body = node.body?.getText().length ?? 0
  return clean(text.slice(0, text.length - body))
}

function typeText(node: Declaration, symbol: Name): string {
  if (node.type) return clean(node.type.getText())
  const type = checker.getTypeOfSymbol(symbol)
  return type ? checker.typeToString(type) : 'unknown'
}

function declarationText(kind: EntryKind, node: Declaration, symbol: Name): string {
  if (kind === 'constant') return `const ${symbol.name}: ${typeText(node, symbol)}`
  if (kind === 'function') return declarationsOf(symbol).map(head).join('\n')
  if (kind === 'type') return clean(node.getText())
  const text = node.getText()
  const start = clean(text.slice(0, text.indexOf('{')))
  const calls = [...(node.members ?? [])].filter(({ kind: each }) => CALLS.has(each))
  if (calls.length === 0) return `${start} { … }`
  return `${start} {\n${calls.map((call) => indent(head(call))).join('\n')}\n}`
}

const indent = (text: string): string => text.replace(/^/gm, '  ')

const CALLS = new Set([
  SyntaxKind.CallSignature,
  SyntaxKind.ConstructSignature,
  SyntaxKind.Constructor,
])

/** Returns the documentation of the calls of an interface, for example of `tp.lock()`. */
export function callDocumentation(symbol: Name): Documentation | undefined {
  const call = symbol.getMembers().get('__call' as never)
  return call && isOurs(call) ? documentationOf(call) : undefined
}

/** Returns code without `export` and with the indentation of its last line removed. */
function clean(text: string): string {
  const lines = text
    .replace(/^(export )?(declare |default )?/, '')
    .trim()
    .split('\n')
  const indent = /^ */.exec(lines.at(-1) ?? '')![0].length
  return lines
    .map((line, i) => (i === 0 ? line : line.replace(new RegExp(`^ {0,${indent}}`), '')))
    .join('\n')
}

/** Returns the code that a name's section shows. */
const codeOf = ({ declaration, members }: NameEntry): string =>
  [
    declaration.endsWith('{ … }') ? '' : declaration,
    ...members.flatMap(({ declarations }) => declarations),
  ].join('\n')

/** Returns the capitalised names in some code, without those in comments and strings. */
export const typeNames = (code: string): Set<string> =>
  new Set(code.replace(/\/\*[\s\S]*?\*\/|'[^']*'/g, '').match(/\b[A-Z]\w+\b/g))

/** Returns the interfaces and types of src/ that a name's section mentions. */
export function mentionedTypes(entry: NameEntry, symbol: Name): Name[] {
  const places = [symbol, ...membersOfExport(symbol)].flatMap(declarationsOf)
  return [...typeNames(codeOf(entry))].flatMap((name) => {
    for (const place of places) {
      const local = checker.resolveName(name, SymbolFlags.Type, place)
      const type =
        local && (local.flags & SymbolFlags.Alias) !== 0 ? checker.getAliasedSymbol(local) : local
      if (!type || !isOurs(type)) continue
      const kind = declarationsOf(type)[0]?.kind
      const isShown =
        kind === SyntaxKind.InterfaceDeclaration || kind === SyntaxKind.TypeAliasDeclaration
      return isShown ? [type] : []
    }
    return []
  })
}
