/** The examples in docstrings compile. Editors show them, and the reference repeats them. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Symbol as Name } from 'typescript/unstable/sync'
import { afterAll, expect, test } from 'vitest'
import { clear, ROOT } from './blocks.ts'
import {
  closeCompiler,
  documentationOf,
  entries,
  exportsOf,
  membersOfExport,
  project,
} from './reference/compiler.ts'

const FOLDER = `docstrings-${process.pid}`
const folder = path.join(ROOT, '.cache/docs', FOLDER)
afterAll(() => {
  closeCompiler()
  clear(FOLDER)
})

/** What examples use without a declaration. Callbacks get `any`: the requests of three frameworks differ. */
const GLOBALS = `
import type * as T from '../../../src/index.ts'
import type * as C from '../../../src/collections.ts'
import type * as F from '../../../src/flags.ts'
import type * as J from '../../../src/jobs.ts'
import type * as K from '../../../src/tokens.ts'
import type * as R from '../../../src/realtime.ts'
import type { testStore as TestStore } from '../../../src/testing.ts'
import type { extension as Extension } from '../../../src/extension.ts'
import type { ioredisOptions as Options, TurnpikeInstrumentation as Spans } from '../../../src/otel.ts'
declare global {
  const tp: T.Turnpike<any, any>
  const turnpike: (options: T.TurnpikeOptions<any>) => T.Turnpike<any, any>
  const testStore: typeof TestStore
  const extension: typeof Extension
  type Instance = Parameters<typeof Extension>[0]
  const ioredisOptions: typeof Options
  const TurnpikeInstrumentation: typeof Spans
  const asNodeRedis: typeof T.asNodeRedis
  const counters: typeof C.counters
  const leaderboard: typeof C.leaderboard
  const list: typeof C.list
  const recent: typeof C.recent
  const suggestions: typeof C.suggestions
  const trending: typeof C.trending
  const flags: typeof F.flags
  const maintenance: typeof F.maintenance
  const config: typeof F.config
  const openFeatureProvider: typeof F.openFeatureProvider
  const jobs: typeof J.jobs
  const apiKeys: typeof K.apiKeys
  const oneTimeTokens: typeof K.oneTimeTokens
  const refreshTokens: typeof K.refreshTokens
  const channels: typeof R.channels
  const inbox: typeof R.inbox
  const presence: typeof R.presence
  const progress: typeof R.progress
  const sse: typeof R.sse
  const subscriptions: typeof R.subscriptions
  const limiter: T.WaitingLimiter
  const guard: T.LoginGuard<any, any>
  const videos: T.Semaphore
  const alerts: T.Alerts
  const feature: F.Flags<any, any>
  const queue: J.JobQueue<any, any>
  const verify: K.OneTimeTokens
  const live: R.Channels
  const mails: R.Inbox<any, any>
  const tasks: R.ProgressTracker
  type Change = { type: string }
  type Message = { text: string }
}
`
/** Parts of an application, of which the examples say nothing. */
const APPLICATION = [
  'IORedisInstrumentation NodeSDK OpenFeature PeriodicExportingMetricReader Redis RedisStore admin apiKey app apply',
  'buildReport campaign checkout complete isOrderOf createOrder db encode exportAll exporter express feed file findProducts http id',
  'ids job key listOrders logger login mailer message operatorOf order pay pepper pino post promClient query refused',
  'reload render req room saveProduct secret send sendReport server session signal stripe subject title url user',
  'userAgent userId webhook',
]
  .join(' ')
  .split(' ')

interface Example {
  name: string
  text: string
  code: string
}

/** Returns a public name as a type: `any` stands for each of its parameters. */
function typeOf(entry: string, name: string, symbol: Name): string {
  const declaration = symbol.declarations[0]?.resolve(project) as any
  const parameters: unknown[] = [...(declaration?.typeParameters ?? [])]
  const given = parameters.length > 0 ? `<${parameters.map(() => 'any').join()}>` : ''
  return `import('../../../src/${entry}.ts').${name}${given}`
}

/** Returns an example as a module: a value of its option, or statements. */
function moduleOf(code: string, type: string, member: string | undefined): string {
  if (member === undefined) return code
  const isProperty = code.startsWith(`${member}: `)
  return `const options: Partial<${type}> = { ${isProperty ? code : `${member}: ${code}`} }`
}

function* examplesOf(entry: string): Generator<Example> {
  for (const [exported, symbol] of exportsOf(entry)) {
    const members = membersOfExport(symbol)
    const type = typeOf(entry, exported, symbol)
    for (const each of [symbol, ...members]) {
      const examples = documentationOf(each).tags.filter(({ name }) => name === 'example')
      for (const { text } of examples) {
        const isOption = each !== symbol && !isStatement(text)
        const isValue = each === symbol && !isStatement(text)
        const code = isValue
          ? `const values: (${type})[] = [${text}]`
          : moduleOf(text, type, isOption ? each.name : undefined)
        yield { name: each === symbol ? exported : `${exported}.${each.name}`, text, code }
      }
    }
  }
}

/** True for what a program would write, false for the value of an option. */
const isStatement = (text: string): boolean =>
  /^(?:await|const|for|new|process\.once)\b|^(?:tp|app|http|queue)\./.test(text)

test('the examples of all docstrings compile', () => {
  // Several entries export the same names.
  const known = new Set<string>()
  const examples = new Map<string, string>()
  for (const entry of entries)
    for (const { name, text, code } of examplesOf(entry)) {
      if (known.has(text)) continue
      known.add(text)
      examples.set(`${name}-${known.size}`, code)
    }
  expect(examples.size).toBeGreaterThan(100)
  mkdirSync(folder, { recursive: true })
  writeFileSync(path.join(folder, 'globals.d.ts'), GLOBALS)
  const rest = APPLICATION.map((name) => `declare var ${name}: any\n`).join('')
  writeFileSync(path.join(folder, 'application.d.ts'), rest)
  for (const [name, code] of examples)
    writeFileSync(path.join(folder, `${name}.ts`), `${code}\nexport {}\n`)
  const options = {
    noEmit: true,
    noImplicitAny: false,
    noUnusedLocals: false,
    noUnusedParameters: false,
    types: ['node'],
  }
  const settings = {
    extends: '../../../tsconfig.test.json',
    compilerOptions: options,
    include: ['*.ts', '../../../src/lua.d.ts'],
  }
  writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify(settings))
  const tsc = path.join(ROOT, 'node_modules/.bin/tsc')
  const { stdout, stderr } = spawnSync(tsc, ['-p', folder], { encoding: 'utf8', cwd: folder })
  expect(`${stdout}${stderr}`.trim()).toBe('')
}, 60_000)
