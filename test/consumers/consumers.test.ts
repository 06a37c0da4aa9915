/**
 * The package as its users get it: packed, installed into an empty folder, loaded as CommonJS and as
 * ESM, and compiled in each mode of TypeScript's module resolution.
 */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import {
  cp,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { linksIn, modulesOf, sourceOf } from '../docs/blocks.ts'
import { startTestRedis, type TestRedis } from '../support/redis.ts'

const root = path.resolve(import.meta.dirname, '../..')
const modules = path.join(root, 'node_modules')
const entries = [
  'turnpike',
  'turnpike/express',
  'turnpike/koa',
  'turnpike/node',
  'turnpike/testing',
  'turnpike/jobs',
  'turnpike/tokens',
  'turnpike/collections',
  'turnpike/flags',
  'turnpike/realtime',
  'turnpike/extension',
]
const passed = [200, 200, 429]

const compilers: [version: string, tsc: string][] = [
  ['7', path.join(modules, 'typescript/bin/tsc')],
  // The one that check:package brings along, pinned in package.json's overrides.
  ['5.6', path.join(modules, '@arethetypeswrong/core/node_modules/typescript/bin/tsc')],
]

let folder: string
let tarball: string
/** A folder with the installed tarball and nothing else. */
let bare: string
/** The same with the frameworks, ioredis and the fixtures. */
let full: string

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'turnpike-consumers-'))
  tarball = await pack(path.join(folder, 'source'))
  bare = path.join(folder, 'bare')
  await install(bare)
  full = path.join(folder, 'full')
  await cp(bare, full, { recursive: true })
  await furnish(full)
}, 180_000)

afterAll(() => rm(folder, { recursive: true, force: true }))

describe('the tarball', () => {
  it('contains what users need and nothing else', async () => {
    const { stdout } = await run(folder, 'tar', ['-tzf', tarball])
    const files = stdout.trim().split('\n')
    const wanted = ['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'SECURITY.md']
    const allowed = new RegExp(
      `^package/(dist/|docs/.*\\.md$|docs/metrics/[a-z]+\\.(json|yml)$|docs/images/[a-z]+\\.svg$|src/.*\\.(ts|lua)$|(${wanted.join('|')})$)`,
    )
    expect(files.filter((file) => !allowed.test(file))).toEqual([])
    expect(files).toEqual(expect.arrayContaining(wanted.map((file) => `package/${file}`)))
    const readme = await readFile(path.join(root, 'README.md'), 'utf8')
    const pictures = [...readme.matchAll(/!\[[^\]]*\]\(([^)]+)\)/g)].map(
      ([, file]) => `package/${file}`,
    )
    expect(pictures).not.toEqual([])
    expect(files).toEqual(expect.arrayContaining(pictures))
    for (const name of [
      'index',
      'express',
      'koa',
      'node',
      'testing',
      'extension',
      'jobs',
      'tokens',
      'collections',
      'flags',
      'otel',
      'realtime',
    ]) {
      for (const kind of ['mjs', 'cjs', 'd.mts', 'd.cts']) {
        expect(files).toContain(`package/dist/${name}.${kind}`)
      }
    }
  })

  it('leads nowhere outside: every link of its documents is to a file in it', async () => {
    const installed = path.join(bare, 'node_modules/turnpike')
    let count = 0
    const dead: string[] = []
    for (const document of await readdir(installed, { recursive: true })) {
      if (!document.endsWith('.md')) continue
      for (const target of linksIn(await readFile(path.join(installed, document), 'utf8'))) {
        if (/^([a-z]+:|#)/.test(target)) continue
        count += 1
        const file = path.join(installed, path.dirname(document), target.split('#')[0]!)
        if (!existsSync(file)) dead.push(`${document}: ${target}`)
      }
    }
    expect(dead).toEqual([])
    expect(count).toBeGreaterThan(500)
  })

  it('leaves the documents of the repository as they were', async () => {
    for (const document of ['README.md', 'docs/guarantees.md']) {
      const left = await readFile(path.join(folder, 'source', document), 'utf8')
      expect(left).toBe(await readFile(path.join(root, document), 'utf8'))
    }
  })

  it('contains JavaScript that a person can read', async () => {
    const dist = path.join(bare, 'node_modules/turnpike/dist')
    for (const file of await readdir(dist, { recursive: true })) {
      if (!/\.[cm]js$/.test(file)) continue
      const lines = (await readFile(path.join(dist, file), 'utf8')).split('\n')
      const code = lines.filter((line) => !/^(import|export|\/\/)/.test(line))
      const longest = code.toSorted((a, b) => b.length - a.length)[0]!
      expect(longest.length, `${file}: ${longest}`).toBeLessThan(600)
    }
  })
})

describe('jobs', () => {
  it('say what to install where BullMQ is missing', async () => {
    const source = `
      const { turnpike } = require('turnpike/node')
      const { jobs } = require('turnpike/jobs')
      const queue = jobs(turnpike({ redis: 'redis://127.0.0.1:1' }))
      queue.define('mail', {})
      queue.add('mail').catch(({ code, message }) => {
        console.log(code, message)
        process.exit()
      })`
    const { stdout } = await run(full, process.execPath, ['-e', source])
    expect(stdout.trim()).toBe(
      'TP_NO_BULLMQ turnpike/jobs needs BullMQ. Install it: npm install bullmq',
    )
  })
})

describe('spans', () => {
  const program = (load: (name: string) => string): string => `
    const { trace } = ${load('@opentelemetry/api')}
    const sdk = ${load('@opentelemetry/sdk-trace-base')}
    const { turnpike } = ${load('turnpike/node')}
    const { TurnpikeInstrumentation, ioredisOptions } = ${load('turnpike/otel')}
    const exporter = new sdk.InMemorySpanExporter()
    const spanProcessors = [new sdk.SimpleSpanProcessor(exporter)]
    trace.setGlobalTracerProvider(new sdk.BasicTracerProvider({ spanProcessors }))
    new TurnpikeInstrumentation({ requireParent: false })
    const used = async () => {
      const tp = turnpike({ redis: 'memory' })
      await tp.limiter('api', { limit: 1, window: '1m' }).consume('canary')
      await tp.close()
      console.log(exporter.getFinishedSpans().map(({ name }) => name).join())
      console.log(ioredisOptions().dbStatementSerializer('get', ['canary']))
    }
    used()`
  const wanted = 'turnpike limiter api\nGET\n'

  it('of CommonJS', async () => {
    const source = program((name) => `require('${name}')`)
    const { stdout } = await run(full, process.execPath, ['--input-type=commonjs', '-e', source])
    expect(stdout).toBe(wanted)
  })

  it('of ESM', async () => {
    const source = program((name) => `await import('${name}')`)
    const { stdout } = await run(full, process.execPath, ['--input-type=module', '-e', source])
    expect(stdout).toBe(wanted)
  })

  it('need @opentelemetry/api, and nothing else does', async () => {
    const source = "try { require('turnpike/otel') } catch ({ message }) { console.log(message) }"
    const { stdout } = await run(bare, process.execPath, ['--input-type=commonjs', '-e', source])
    expect(stdout).toContain("Cannot find module '@opentelemetry/api'")
  })
})

describe('an error', () => {
  const source = `
    try {
      require('turnpike/node').turnpike({ redis: 'memory' }).rateLimit({ limit: 1, window: '1 m' })
    } catch ({ help, stack }) {
      console.log(JSON.stringify({ help, stack }))
    }`
  const thrown = async (...flags: string[]): Promise<{ help: string; stack: string }> =>
    JSON.parse((await run(bare, process.execPath, [...flags, '-e', source])).stdout)

  it('names a section of a page that the application can resolve', async () => {
    const { help } = await thrown()
    const [page, anchor] = help.split('#')
    const { stdout } = await run(bare, process.execPath, ['-p', `require.resolve('${page}')`])
    const text = await readFile(stdout.trim(), 'utf8')
    expect(text).toContain(`\n## ${anchor!.toUpperCase()}\n`)
  })

  it('is explained by npx turnpike explain', async () => {
    const { stdout, stderr } = await run(bare, 'npx', ['turnpike', 'explain', 'TP_OPTION'])
    expect(stdout).toMatch(/^## TP_OPTION\n\n[A-Z].*\n/)
    expect(stdout.match(/^## /gm)).toHaveLength(1)
    expect(stderr).toBe('')
  })

  it('has a stack trace of the source under --enable-source-maps', async () => {
    const { stack } = await thrown('--enable-source-maps')
    const frames = [...stack.matchAll(/at (?:\S+\.)?(\w+) .*?([^(]+):(\d+):\d+\)/g)]
    const own = frames.filter(([, , file]) => file!.includes('/node_modules/turnpike/'))
    expect(own.length).toBeGreaterThan(1)
    for (const [, name, file, line] of own) {
      expect(file).toMatch(/\/turnpike\/src\/.*\.ts$/)
      const lines = (await readFile(file!, 'utf8')).split('\n')
      expect(lines.length, `${name} at ${file}`).toBeGreaterThanOrEqual(Number(line))
    }
    const [, , file, line] = own[0]!
    const at = (await readFile(file!, 'utf8')).split('\n')[Number(line) - 1]
    expect(at).toContain('new OptionError(')
  })
})

describe('with nothing else installed', () => {
  it.each(entries)('require(%j) works without warnings', async (entry) => {
    const { stderr } = await run(bare, process.execPath, ['-e', `require('${entry}')`])
    expect(stderr).toBe('')
  })

  it.each(entries)('import(%j) works without warnings', async (entry) => {
    const args = ['--input-type=module', '-e', `import '${entry}'`]
    expect((await run(bare, process.execPath, args)).stderr).toBe('')
  })
})

describe('with everything installed', () => {
  it('require("turnpike/express") loads only itself and its two dependencies', async () => {
    const source = `
      const { turnpike } = require('turnpike/express')
      turnpike({ redis: 'memory' }).rateLimit({ limit: 2, window: '1m' })
      console.log(JSON.stringify(Object.keys(require.cache)))`
    const { stdout } = await run(full, process.execPath, ['-e', source])
    const loaded = (JSON.parse(stdout) as string[]).map(packageOf)
    const own = ['turnpike', 'ipaddr.js', 'structured-headers']
    expect(loaded).toContain('turnpike')
    expect([...new Set(loaded)].filter((name) => !own.includes(name))).toEqual([])
  })

  it.each(['cjs', 'esm'])('%s applications run', async (format) => {
    const files = await readdir(path.join(full, format))
    expect(files).toHaveLength(4)
    for (const file of files) {
      expect(await statuses(path.join(format, file)), file).toEqual(expected(file))
    }
  })
})

describe('over Redis', () => {
  let redis: TestRedis

  beforeAll(async () => {
    redis = await startTestRedis()
  })
  afterAll(() => redis.stop())

  it.each(['cjs/express.cjs', 'esm/express.mjs', 'cjs/koa.cjs', 'esm/koa.mjs'])(
    '%s finds ioredis',
    async (file) => {
      await redis.client.flushall()
      expect(await statuses(file, { REDIS_URL: redis.url })).toEqual(passed)
      expect(await redis.client.dbsize()).toBeGreaterThan(0)
    },
  )
})

describe.each(compilers)('TypeScript %s', (version, tsc) => {
  it.each(['nodenext', 'bundler'])(
    '%s: correct programs compile and run, wrong ones do not compile',
    async (mode) => {
      const out = path.join(full, `out-${mode}`)
      await rm(out, { recursive: true, force: true })
      const seen = await run(full, process.execPath, [tsc, '--version'])
      expect(seen.stdout).toContain(`Version ${version}.`)
      expect(await complaints(tsc, mode)).toEqual([])
      const files = (await readdir(out)).filter((file) => !file.startsWith('refused'))
      expect(files).toHaveLength(mode === 'nodenext' ? 6 : 3)
      for (const file of files) {
        const wanted = file.startsWith('express') ? [...passed, ...passed] : passed
        expect(await statuses(path.join(`out-${mode}`, file)), file).toEqual(wanted)
      }
    },
    60_000,
  )
})

describe('the extension of docs/extensions.md', () => {
  let redis: TestRedis
  beforeAll(async () => {
    redis = await startTestRedis()
    const block = modulesOf('docs/extensions.md').find(({ name }) => name === 'maintenance.ts')!
    for (const extension of ['mts', 'cts']) {
      const file = path.join(full, 'extension', `maintenance.${extension}`)
      await writeFile(
        file,
        sourceOf(block, () => true),
      )
    }
    const tsc = path.join(modules, 'typescript/bin/tsc')
    expect(await complaints(tsc, 'extension')).toEqual([])
  }, 60_000)
  afterAll(() => redis.stop())

  it.each(['in memory', 'over Redis'])(
    'as ESM and CommonJS, serves instances of both, %s',
    async (where) => {
      const env = where === 'over Redis' ? { REDIS_URL: redis.url } : {}
      const pair = [200, 503, 200]
      expect(await statuses('out-extension/mixed.mjs', env)).toEqual([pair, pair, pair, pair])
    },
  )
})

describe('the entry without a framework', () => {
  const call = "{ redis: 'memory' }"
  it.each([
    ['CommonJS', ['-e', `require('turnpike').turnpike(${call})`]],
    [
      'ESM',
      ['--input-type=module', '-e', `import { turnpike } from 'turnpike'; turnpike(${call})`],
    ],
    ['fromEnv()', ['-e', `require('turnpike').turnpike.fromEnv()`]],
  ])('says at run time which one to import (%s)', async (_name, args) => {
    await expect(run(bare, process.execPath, args)).rejects.toThrow(
      /TurnpikeError: turnpike\(\): .*'turnpike\/express', 'turnpike\/koa' or 'turnpike\/node'[^]*TP_OPTION/,
    )
  })

  it('says in its types which one to import', async () => {
    const source = `import { turnpike } from 'turnpike'\nturnpike({ redis: 'memory' })\n`
    await writeFile(path.join(full, 'types/root.mts'), source)
    const [error, ...others] = await checked(compilers[0]![1], 'types/root.mts')
    expect(error).toContain("Import turnpike from 'turnpike/express', 'turnpike/koa' or")
    expect(others).toEqual([])
    await rm(path.join(full, 'types/root.mts'))
  })
})

describe.each(compilers)('types, as TypeScript %s sees them', (version, tsc) => {
  const files = readdirSync(path.join(import.meta.dirname, 'fixtures/types'))
  // The older compiler takes several seconds for each.
  const some = version === '7' ? /(?<!^exact\.d)\.mts$/ : /^(routes|windows|express-session)\.mts$/
  it.each(files.filter((file) => some.test(file)))(
    '%s',
    async (file) => {
      expect(await checked(tsc, path.join('types', file))).toEqual([])
    },
    60_000,
  )
})

it('moduleResolution node10 finds all entries', async () => {
  // TypeScript 7 no longer has it.
  const [, tsc] = compilers[1]!
  await rm(path.join(full, 'out-node10'), { recursive: true, force: true })
  expect(await complaints(tsc, 'node10')).toEqual([])
  await writeFile(path.join(full, 'out-node10/package.json'), '{ "type": "commonjs" }')
  for (const file of ['koa.js', 'node.js'])
    expect(await statuses(path.join('out-node10', file)), file).toEqual(passed)
  const { typesVersions, exports } = JSON.parse(
    await readFile(path.join(bare, 'node_modules/turnpike/package.json'), 'utf8'),
  )
  const typed = Object.keys(exports).filter((name) => exports[name].require !== undefined)
  expect(['.', ...Object.keys(typesVersions['*']).map((name) => `./${name}`)].toSorted()).toEqual(
    typed.toSorted(),
  )
}, 60_000)

/** Builds and packs a copy of the tree, so that other processes do not see `dist` change. */
async function pack(source: string): Promise<string> {
  const left = new Set(['node_modules', '.git', '.cache', 'dist', 'coverage'])
  await cp(root, source, {
    recursive: true,
    filter: async (from) => {
      if (left.has(path.relative(root, from))) return false
      const kind = await lstat(from)
      return kind.isFile() || kind.isDirectory()
    },
  })
  await symlink(modules, path.join(source, 'node_modules'), 'junction')
  await npm(source, ['pack', '--pack-destination', folder])
  const packed = (await readdir(folder)).find((name) => name.endsWith('.tgz'))
  return path.join(folder, packed!)
}

async function install(target: string): Promise<void> {
  await mkdir(target)
  const manifest = { private: true, type: 'module' }
  await writeFile(path.join(target, 'package.json'), JSON.stringify(manifest))
  await npm(target, [
    'install',
    '--prefer-offline',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    tarball,
  ])
}

/** Links the frameworks from our own node_modules: no download, and the locked versions. */
async function furnish(target: string): Promise<void> {
  const installed = path.join(target, 'node_modules')
  const types = (await readdir(path.join(modules, '@types'))).map((name) => `@types/${name}`)
  await mkdir(path.join(installed, '@types'), { recursive: true })
  const others = ['@opentelemetry/api', '@opentelemetry/sdk-trace-base']
  await mkdir(path.join(installed, '@opentelemetry'))
  for (const name of ['express', 'koa', 'ioredis', ...others, ...types]) {
    const [from, to] = [path.join(modules, name), path.join(installed, name)]
    // The package's own dependencies stay as they were installed.
    if (!existsSync(to)) await symlink(from, to, 'junction')
  }
  await cp(path.join(import.meta.dirname, 'fixtures'), target, { recursive: true })
}

function expected(file: string): number[] {
  return file.startsWith('testing') ? [...passed, ...passed] : passed
}

/**
 * Returns the compiler's errors in the fixtures and in our declarations. It also checks those of
 * `@types`, which do not always fit each other, so their errors are left out.
 */
function complaints(tsc: string, project: string): Promise<string[]> {
  return compile([tsc, '-p', project])
}

/** Returns the errors of one fixture, with strict options and without other global types. */
function checked(tsc: string, file: string): Promise<string[]> {
  const strict = ['--strict', '--noUncheckedIndexedAccess', '--exactOptionalPropertyTypes']
  const options = ['--noEmit', '--target', 'es2022', '--module', 'nodenext', '--types', 'node']
  return compile([tsc, ...strict, ...options, file])
}

async function compile(command: string[]): Promise<string[]> {
  const args = [...command, '--pretty', 'false']
  const output = await run(full, process.execPath, args).then(
    () => '',
    (error: Error) => error.message,
  )
  const errors = output.split('\n').filter((line) => line.includes('error TS'))
  return errors.filter((line) => !/node_modules\/@types\/[^(]*\(/.test(line))
}

/** Returns the statuses that a fixture printed. It must not warn. */
async function statuses(file: string, env?: Record<string, string>): Promise<unknown> {
  const { stdout, stderr } = await run(full, process.execPath, [file], env)
  expect(stderr, file).toBe('')
  return JSON.parse(stdout)
}

/** Returns the package of a module. */
function packageOf(file: string): string {
  return file.split(path.sep).join('/').split('/node_modules/').at(-1)!.split('/')[0]!
}

function npm(cwd: string, args: string[]): Promise<{ stdout: string; stderr: string }> {
  return run(cwd, 'npm', args)
}

/** Runs a program as a user's shell would, without what vitest adds to the environment. */
async function run(
  cwd: string,
  program: string,
  args: string[],
  extra?: Record<string, string>,
): Promise<{ stdout: string; stderr: string }> {
  const ours = /^(NODE_OPTIONS|NODE_ENV|NODE_V8_COVERAGE|FORCE_COLOR|DEBUG|REDIS_URL|VITEST.*)$/
  const kept = Object.entries(process.env).filter(([name]) => !ours.test(name))
  const env = { ...Object.fromEntries(kept), ...extra }
  try {
    return await promisify(execFile)(program, args, { cwd, env, timeout: 120_000 })
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${program} ${args.join(' ')} failed:\n${stdout}\n${stderr}`, { cause: error })
  }
}
