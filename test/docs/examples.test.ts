/** Every `@example` of a public name compiles, with the names that an application would have. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { ROOT } from './blocks.ts'
import { closeCompiler, type Documentation } from './reference/compiler.ts'
import { placedNames } from './reference/write.ts'

/** A folder for this process. The suite may run twice at once. */
const FOLDER = path.join(ROOT, `.cache/docs/examples-${process.pid}`)
afterAll(() => {
  closeCompiler()
  rmSync(FOLDER, { recursive: true, force: true })
})

const names = placedNames()

interface Example {
  /** The documented name, for example `CacheOptions.tags`. */
  readonly name: string
  readonly code: string
  /** What the value of an option is, or undefined if the example is a statement. */
  readonly type: string | undefined
  readonly owner: (typeof names)[number]['entry']
}

const tagsOf = ({ tags }: Documentation): string[] =>
  tags.filter(({ name }) => name === 'example').map(({ text }) => text.trim())

/** Statements begin so. Every other example is the value of an option, or `name: value`. */
const STATEMENT =
  /^(?:await |const |for |import |declare |stats\.|app\.|tp\.(?!key\b)|http\.|process\.|new |\/\/)/

const examples: Example[] = names.flatMap(({ entry: owner }) => {
  const own = tagsOf(owner).map((code) => ({ name: owner.name, code, type: undefined, owner }))
  const type = `Owner${typeArguments(owner.declaration, owner.name)}`
  return [
    ...own.map((each) =>
      owner.kind === 'type' ? { ...each, type: `${type}[]`, code: `[${each.code}]` } : each,
    ),
    ...owner.members.flatMap((member) =>
      tagsOf(member).map((code): Example => {
        const name = `${owner.name}.${member.name}`
        if (STATEMENT.test(code)) return { name, code, type: undefined, owner }
        return code.startsWith(`${member.name}:`)
          ? { name, code: `{ ${code} }`, type: `Partial<${type}>`, owner }
          : { name, code, type: `${type}['${member.name}']`, owner }
      }),
    ),
  ]
})

/** Returns `<any, any>` for the type parameters that a declaration has. */
function typeArguments(declaration: string, name: string): string {
  const [, list] =
    new RegExp(`\\b${name}<([^{]*?)>\\s*(?:\\{|=|extends\\b)`).exec(declaration) ?? []
  if (list === undefined) return ''
  return `<${list
    .replaceAll(/<[^<>]*>/g, '')
    .split(',')
    .map(() => 'any')
    .join(', ')}>`
}

/** What examples use of an application and of other packages. */
const OTHERS =
  'admin apiKey app apply buildReport campaign checkout complete createOrder db ' +
  'encode exportAll exporter express feature feed file findProducts guard http ' +
  'id ids job limiter listOrders logger login mailer mails message ' +
  'isOrderOf operatorOf order pay pino post promClient query queue refused reload ' +
  'render req room saveProduct send sendReport server session stripe subject ' +
  'tasks title token url user userId videos verify webhook pepper ' +
  'userAgent alerts IORedisInstrumentation NodeSDK OpenFeature PeriodicExportingMetricReader Redis RedisStore '
const APPLICATION = `import type { Request, RequestHandler } from 'express'
import type { Channels } from '../../../src/realtime.ts'
import type { Turnpike } from '../../../src/turnpike.ts'
declare global {
  const tp: Turnpike<Request, RequestHandler>
  const live: Channels<Request, RequestHandler>
  const secret: string
  const signal: AbortSignal
  ${OTHERS.trim()
    .split(' ')
    .map((name) => `const ${name}: any`)
    .join('\n  ')}
  type Change = unknown
  type Message = unknown
  namespace Express {
    interface Request {
      auth?: any
      user?: any
      session?: any
    }
  }
}
export {}
`

function sourceOf({ code, type, owner }: Example): string {
  const used = names.filter(
    ({ entry, importedFrom }) =>
      importedFrom.length > 0 &&
      new RegExp(`(?<!(?<!\\.\\.)\\.|[\\w'])${entry.name}\\b(?!:)`).test(code),
  )
  // Each framework has a `turnpike()`.
  const origins = new Map(used.map(({ entry, importedFrom: [from] }) => [entry.name, from]))
  if (origins.has('turnpike')) origins.set('turnpike', 'turnpike/express')
  const imports = [...origins].map(([name, from]) => `import { ${name} } from '${from}'`)
  if (type === undefined) return `${imports.join('\n')}\n${code}\nexport {}\n`
  return [
    ...imports.filter((line) => !line.includes(` ${owner.name} `)),
    `import type { ${owner.name} as Owner } from '../../../src/${owner.file}'`,
    `export const example: ${type} = ${code}\n`,
  ].join('\n')
}

test('every example compiles', { timeout: 90_000 }, () => {
  expect(examples.length).toBeGreaterThan(100)
  mkdirSync(FOLDER, { recursive: true })
  const files = examples.map((example, i) => {
    const file = `${String(i).padStart(3, '0')}-${example.name}.ts`
    writeFileSync(path.join(FOLDER, file), sourceOf(example))
    return file
  })
  writeFileSync(path.join(FOLDER, 'application.d.ts'), APPLICATION)
  const config = {
    extends: '../../../tsconfig.test.json',
    compilerOptions: {
      // Examples are as short as JavaScript.
      noImplicitAny: false,
      noUncheckedIndexedAccess: false,
      verbatimModuleSyntax: false,
      noUnusedLocals: false,
      noUnusedParameters: false,
      paths: { turnpike: ['../../../src/index.ts'], 'turnpike/*': ['../../../src/*.ts'] },
    },
    files: [...files, 'application.d.ts', '../../../src/lua.d.ts'],
    include: [],
  }
  writeFileSync(path.join(FOLDER, 'tsconfig.json'), JSON.stringify(config))
  const { stdout, stderr } = spawnSync(
    path.join(ROOT, 'node_modules/.bin/tsc'),
    ['-p', path.join(FOLDER, 'tsconfig.json')],
    { encoding: 'utf8', cwd: FOLDER },
  )
  // The sources need the stricter options of `npm run types`.
  const errors = `${stdout}${stderr}`.split(/\n(?=\S)/).filter((each) => !each.startsWith('..'))
  expect(errors.join('\n').trim()).toBe('')
})
