/**
 * Fails where src/ leaves its structure: a circle, an import that points up or sideways, a name that
 * two files export, a name that hides a global. Imports of types count as well.
 *
 *   npm run structure
 *   node scripts/structure.mjs <folder>     another package, without the faults known of this one
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { parseSync } from 'oxc-parser'

const [given] = process.argv.slice(2)
const root = path.resolve(given ?? path.join(import.meta.dirname, '..'))

/**
 * The layers, from the ground up. A file imports from its own group and from the layers below.
 * Groups of one layer do not know each other. `*` stands for one name.
 */
const LAYERS = [
  {
    ground: [
      'activity-log.ts',
      'availability-log.ts',
      'clock.ts',
      'debug-output.ts',
      'distinct-warnings.ts',
      'duration.ts',
      'errors.ts',
      'event-types.ts',
      'events.ts',
      'feature-counts.ts',
      'lua.d.ts',
      'permissions.ts',
      'closers.ts',
      'name-claims.ts',
      'option-value.ts',
      'request-budget.ts',
      'stored-json.ts',
      'user-id.ts',
      'validate.ts',
    ],
  },
  { store: ['store/'], http: ['http/'] },
  { seam: ['extension.ts'] },
  { caching: ['caching/'], control: ['control/'], documents: ['documents/'] },
  { 'what features share': ['features/*.ts'] },
  { 'features/*': ['features/*/'], 'extensions/*': ['extensions/*/'], operations: ['operations/'] },
  { commands: ['commands/'] },
  { dashboard: ['dashboard/'] },
  { assembly: ['create-turnpike.ts', 'environment.ts', 'instance-context.ts', 'turnpike.ts'] },
  // Also each file that package.json exports.
  { entries: ['cli/', 'testing/'] },
]

/** Which files may import a package. One that is missing here is imported by none. */
const PACKAGES = {
  '@opentelemetry/api': { only: /^extensions\/otel\// },
  bullmq: { only: /^extensions\/jobs\/bullmq-/ },
  express: { only: /^express\.ts$/, types: true },
  ioredis: { only: /^store\// },
  'ipaddr.js': { only: /^http\// },
  koa: { only: /^(koa|http\/koa(-exchange)?)\.ts$/, types: true },
  'structured-headers': { only: /^(http|features)\// },
}

/** Names that several files may export, and names that may hide a global: each with its reason. */
const ALLOWED = {
  turnpike: 'The entries export one name, so that an application changes only its import.',
  LockOptions: 'Options of `tp.lock()`. The global is a type of browsers.',
}

/** How faults begin that are known and being undone. Remove the line of a fault that is gone. */
const KNOWN = []

const sources = readdirSync(path.join(root, 'src'), { recursive: true })
  .map((file) => file.replaceAll('\\', '/'))
  .filter((file) => file.endsWith('.ts'))
  .toSorted((a, b) => (a < b ? -1 : 1))
const modules = new Map(sources.map((file) => [file, read(file)]))
const entries = entriesOf(JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')))

const faults = [...circles(), ...badImports(), ...badNames()]
const known = given === undefined ? KNOWN : []
const fresh = faults.filter((fault) => !known.some((start) => fault.startsWith(start)))
const gone = known.filter((start) => !faults.some((fault) => fault.startsWith(start)))
for (const fault of fresh) console.error(fault)
for (const start of gone)
  console.error(`'${start}' is gone: remove it from KNOWN in scripts/structure.mjs.`)
if (fresh.length + gone.length > 0) process.exitCode = 1
else
  console.log(
    `structure: ${sources.length} files are in order, ${known.length} known faults are left`,
  )

/** What a file imports (`{ target, types }`, packages included) and the names that it declares and exports. */
function read(file) {
  const code = readFileSync(path.join(root, 'src', file), 'utf8')
  const { module, errors } = parseSync(file, code)
  if (errors.length > 0) throw new Error(`${file}: ${errors[0].message}`)
  const exported = module.staticExports.flatMap((each) => each.entries)
  const requests = [
    ...module.staticImports.map(({ moduleRequest, entries }) => [moduleRequest.value, entries]),
    ...exported
      .filter((each) => each.moduleRequest)
      .map((each) => [each.moduleRequest.value, [each]]),
    // What is no string is loaded by its path: a module of the application.
    ...module.dynamicImports
      .map(({ moduleRequest: { start, end } }) => code.slice(start, end))
      .filter((request) => /^['"]/.test(request))
      .map((request) => [request.slice(1, -1), []]),
  ]
  return {
    imports: requests.map(([target, entries]) => ({
      target: target.startsWith('.')
        ? path.posix.join(path.posix.dirname(file), target).replace(/\?script$/, '')
        : target.replace(/^(@[^/]+\/)?([^/]+).*$/, '$1$2'),
      isPackage: !target.startsWith('.'),
      isType: entries.length > 0 && entries.every((each) => each.isType),
    })),
    exports: exported
      .filter((each) => !each.moduleRequest && each.exportName.name)
      .map((each) => each.exportName.name),
    aliases: exported
      .filter((each) => each.moduleRequest && each.exportName.name)
      .map((each) => ({ from: each.importName.name, to: each.exportName.name }))
      .filter(({ from, to }) => from !== to),
  }
}

/** The source files of what the package exports. */
function entriesOf({ exports = {} }) {
  return new Set(Object.keys(exports).map((name) => `${name.slice(2) || 'index'}.ts`))
}

/** The layer and the group of a file; undefined where LAYERS does not say. */
function placeOf(file) {
  for (const [layer, groups] of LAYERS.entries()) {
    for (const [group, patterns] of Object.entries(groups)) {
      for (const pattern of patterns) {
        const found = new RegExp(
          `^${pattern.replaceAll('.', '\\.').replaceAll('*', '([^/]+)')}`,
        ).exec(file)
        if (found && (pattern.endsWith('/') || found[0] === file))
          return { layer, group: group.replace('*', found[1]) }
      }
    }
  }
  return entries.has(file) ? { layer: LAYERS.length - 1, group: 'entries' } : undefined
}

function* badImports() {
  for (const [file, { imports }] of modules) {
    const place = placeOf(file)
    if (!place) yield `${file}: no layer has this file. Add it to LAYERS in scripts/structure.mjs.`
    for (const each of new Map(
      imports.map((each) => [`${each.target}${each.isType}`, each]),
    ).values()) {
      const { target, isPackage } = each
      if (isPackage) yield* badPackage(file, each)
      else if (target.endsWith('.ts') && place) yield* badPlace(file, place, each)
    }
    if (isEngine(file, imports)) {
      for (const { target } of imports.filter((each) => each.target.startsWith('http/')))
        yield `${file} imports ${target}: engines and operations do not know HTTP. Hand in what it needs.`
    }
  }
}

/** Engines and operations: the logic of a feature or an extension. */
function isEngine(file, imports) {
  return (
    /^(features|extensions)\//.test(file) &&
    (path.posix.basename(file) === 'engine.ts' ||
      imports.some(({ target }) => target.endsWith('.lua')))
  )
}

function* badPackage(file, { target, isType }) {
  if (target.startsWith('node:')) return
  const rule = PACKAGES[target]
  if (!rule) yield `${file} imports ${target}: PACKAGES of scripts/structure.mjs does not list it.`
  else if (!rule.only.test(file)) yield `${file} imports ${target}: only ${rule.only} may.`
  else if (rule.types && !isType)
    yield `${file} imports ${target}: only its types, the user brings it.`
}

function* badPlace(file, { layer, group }, { target, isType }) {
  const other = placeOf(target)
  if (!modules.has(target)) yield `${file} imports ${target}: there is no such file.`
  else if (!other) return
  else if (other.layer > layer) yield `${file} imports ${target}: ${group} is below ${other.group}.`
  else if (other.layer === layer && other.group !== group)
    yield `${file} imports ${target}: ${group} and ${other.group} do not know each other.`
  else if (
    /^(features|extensions)\//.test(other.group) &&
    other.group !== group &&
    !isType &&
    !/\/(index|inspection)\.ts$/.test(target)
  )
    yield `${file} imports ${target}: import values of ${other.group} from its index.ts.`
}

/** The circles of imports (Tarjan's strongly connected components). */
function* circles() {
  const order = new Map()
  const lowest = new Map()
  const open = []
  const found = []
  const visit = (file) => {
    order.set(file, order.size)
    lowest.set(file, order.get(file))
    open.push(file)
    for (const { target } of modules.get(file).imports) {
      if (!modules.has(target)) continue
      if (!order.has(target)) visit(target)
      if (open.includes(target)) lowest.set(file, Math.min(lowest.get(file), lowest.get(target)))
    }
    if (lowest.get(file) === order.get(file)) found.push(open.splice(open.indexOf(file)))
  }
  for (const file of modules.keys()) if (!order.has(file)) visit(file)
  for (const files of found) if (files.length > 1) yield `a circle: ${files.toSorted().join(', ')}`
}

function* badNames() {
  const globals = globalNames()
  const owners = new Map()
  for (const [file, { exports, aliases }] of modules) {
    for (const { from, to } of aliases)
      yield `${file} exports ${from} as ${to}: one name for one thing.`
    for (const name of exports) owners.set(name, [...(owners.get(name) ?? []), file])
  }
  for (const [name, files] of owners) {
    if (name in ALLOWED) continue
    if (files.length > 1)
      yield `${name} is exported by ${files.join(', ')}: one meaning for one name.`
    if (globals.has(name)) yield `${files.join(', ')} exports ${name}, which hides a global.`
  }
}

/** The names of Node's globals and of all global types, those of browsers included. */
function globalNames() {
  const names = new Set(Object.getOwnPropertyNames(globalThis))
  const declaration = /^(?:declare )?(?:interface|type|class|var|namespace) ([A-Z]\w+)/gm
  const folder = libraryFolder()
  for (const file of readdirSync(folder).filter((name) => /^lib\.(dom|es|decorators)/.test(name))) {
    for (const [, name] of readFileSync(path.join(folder, file), 'utf8').matchAll(declaration))
      names.add(name)
  }
  return names
}

/** Where TypeScript keeps lib.dom.d.ts: since 7.0 in the package of the platform. */
function libraryFolder() {
  const require = createRequire(import.meta.url)
  const typescript = require.resolve('typescript/package.json')
  const platform = `@typescript/typescript-${process.platform}-${process.arch}/package.json`
  const native = createRequire(typescript).resolve(platform)
  return path.join(path.dirname(existsSync(native) ? native : typescript), 'lib')
}
