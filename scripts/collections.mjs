/**
 * Prints the collections of src/ that outlive a request, one a line: each Map, Set, WeakMap, WeakSet
 * and array that a module or an instance holds. docs/invariants.md has a row for each.
 *
 *   node scripts/collections.mjs
 *   node scripts/collections.mjs <folder>     another package
 */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parseSync } from 'oxc-parser'

/** Classes of collections: Node's, and our own. */
const COLLECTIONS = new Set(['Map', 'Set', 'WeakMap', 'WeakSet', 'BoundedMap', 'RecentlyUsed'])

const FUNCTIONS = new Set(['ArrowFunctionExpression', 'FunctionDeclaration', 'FunctionExpression'])

const [given] = process.argv.slice(2)
const root = path.join(path.resolve(given ?? path.join(import.meta.dirname, '..')), 'src')

const files = readdirSync(root, { recursive: true })
  .map((file) => file.replaceAll('\\', '/'))
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
  // A command is a process of its own, which ends.
  .filter((file) => !file.startsWith('cli/'))
  .toSorted((a, b) => (a < b ? -1 : 1))
for (const file of files) for (const name of collectionsOf(file)) console.log(`${file} ${name}`)

/** The collections that a module declares or that its classes have as members. */
function* collectionsOf(file) {
  const { program, errors } = parseSync(file, readFileSync(path.join(root, file), 'utf8'))
  if (errors.length > 0) throw new Error(`${file}: ${errors[0].message}`)
  for (const statement of program.body) {
    const declared = statement.declaration ?? statement
    if (declared.type === 'VariableDeclaration') {
      for (const { id, init } of declared.declarations)
        if (isCollection(init) && !isFrozen(id, init)) yield id.name
    }
  }
  for (const { id, body } of classesIn(program)) {
    for (const member of body.body) {
      if (member.type !== 'PropertyDefinition' || !isCollection(member.value)) continue
      const name = member.key.type === 'PrivateIdentifier' ? `#${member.key.name}` : member.key.name
      yield `${id?.name ?? 'class'}.${name}`
    }
  }
  yield* sharedIn(program)
}

/** The collections that a function makes for functions inside of it, which may be kept. */
function* sharedIn(node) {
  if (node === null || typeof node !== 'object') return
  if (FUNCTIONS.has(node.type)) {
    const own = node.body ?? {}
    for (const { id, init } of declaredIn(own)) {
      if (init?.type !== 'NewExpression' || !isCollection(init)) continue
      if (insideOf(own).some((inner) => names(inner, id.name))) yield id.name
    }
  }
  for (const value of Object.values(node))
    for (const each of Array.isArray(value) ? value : [value]) yield* sharedIn(each)
}

/** The variables of a function, without those of functions inside of it. */
function* declaredIn(node) {
  if (node === null || typeof node !== 'object' || FUNCTIONS.has(node.type)) return
  if (node.type === 'VariableDeclarator') yield node
  for (const value of Object.values(node))
    for (const each of Array.isArray(value) ? value : [value]) yield* declaredIn(each)
}
/** The functions inside of a function. */
function insideOf(node) {
  if (node === null || typeof node !== 'object') return []
  if (FUNCTIONS.has(node.type)) return [node]
  return Object.values(node).flatMap((value) =>
    Array.isArray(value) ? value.flatMap(insideOf) : insideOf(value),
  )
}
function names(node, name) {
  if (node === null || typeof node !== 'object') return false
  if (node.type === 'Identifier' && node.name === name) return true
  return Object.values(node).some((value) =>
    Array.isArray(value) ? value.some((each) => names(each, name)) : names(value, name),
  )
}

function* classesIn(node) {
  if (node === null || typeof node !== 'object') return
  if (node.type === 'ClassDeclaration' || node.type === 'ClassExpression') yield node
  for (const value of Object.values(node)) {
    if (Array.isArray(value)) for (const each of value) yield* classesIn(each)
    else yield* classesIn(value)
  }
}

function isCollection(value) {
  if (value?.type === 'NewExpression') return COLLECTIONS.has(value.callee.name)
  // A list that is empty at first is filled later.
  return value?.type === 'ArrayExpression' && value.elements.length === 0
}

/** True for a table that is written in the source and typed as one that does not change, or whose name says so. */
function isFrozen(id, init) {
  const type = id.typeAnnotation?.typeAnnotation
  if (type?.typeName?.name?.startsWith('Readonly') || type?.operator === 'readonly') return true
  if (init.type === 'ArrayExpression') return /^[A-Z_]+$/.test(id.name)
  return /^[A-Z_]+$/.test(id.name) && init.arguments.length > 0
}
