/** The package as npm and pnpm install it, and on every version of Node that it supports. */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { startRedis } from 'turnpike/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const root = path.join(import.meta.dirname, '../..')
const versions = createRequire(import.meta.url)('./package.json')
const tsc = path.join(root, 'node_modules/typescript/bin/tsc')
const tarball = process.env.TURNPIKE_TARBALL

const types = path.join(import.meta.dirname, 'types')
/** Those of test/consumers whose types come from turnpike, or from the application. */
const ownTypes = path.join(root, 'test/consumers/fixtures/types')
const OWN = [
  'own-global.mts',
  'extended-request.mts',
  'turnpike-session.mts',
  'turnpike-koa-session.mts',
]

const run = (cwd, program, args, env = {}) =>
  execFileSync(program, args, { cwd, encoding: 'utf8', env: { ...process.env, ...env } })

describe.each(['npm', 'pnpm'])('types, as %s installs them', (manager) => {
  let folder
  const files = [...readdirSync(types), ...OWN]

  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), `turnpike-${manager}-`))
    cpSync(types, folder, { recursive: true })
    for (const file of ['exact.d.mts', ...OWN])
      cpSync(path.join(ownTypes, file), path.join(folder, file))
    const all = { ...versions.dependencies, ...versions.devDependencies }
    const names = [
      'express',
      'koa',
      'ioredis',
      ...Object.keys(versions.devDependencies).filter((name) => name.startsWith('@types/')),
    ]
    const dependencies = Object.fromEntries(names.map((name) => [name, all[name]]))
    const manifest = {
      private: true,
      type: 'module',
      dependencies: { ...dependencies, turnpike: `file:${tarball}` },
    }
    writeFileSync(path.join(folder, 'package.json'), JSON.stringify(manifest))
    if (manager === 'npm') {
      run(folder, 'npm', [
        'install',
        '--ignore-scripts',
        '--no-audit',
        '--no-fund',
        '--loglevel=error',
      ])
    } else {
      const pnpm = path.join(import.meta.dirname, 'node_modules/pnpm/bin/pnpm.cjs')
      // The strictest form: a package finds only what it names.
      const strict = ['--config.hoist=false', '--config.public-hoist-pattern=']
      run(folder, process.execPath, [pnpm, 'install', '--ignore-scripts', ...strict])
    }
  }, 240_000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it.each(files)('%s', (file) => {
    const options = ['--noEmit', '--strict', '--target', 'es2022', '--module', 'nodenext']
    const args = [tsc, ...options, '--types', 'node', '--pretty', 'false', file]
    const { stdout } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' })
    const errors = stdout.split('\n').filter((line) => line.includes('error TS'))
    // The declarations of other packages do not always fit each other.
    const foreign = /node_modules\/(?!turnpike\/|\.pnpm\/)[^(]*\(/
    expect(errors.filter((line) => !foreign.test(line))).toEqual([])
  })
})

describe.each(['20', '22', '24', '26'])('Node %s', (version) => {
  const folder = path.join(import.meta.dirname, '.cache/consumers')
  const fixtures = path.join(root, 'test/consumers/fixtures')
  let node
  let redis

  beforeAll(async () => {
    node = run(root, process.execPath, ['scripts/node-version.mjs', version]).trim()
    mkdirSync(folder, { recursive: true })
    for (const name of ['cjs', 'esm', 'statuses.cjs'])
      cpSync(path.join(fixtures, name), path.join(folder, name), { recursive: true })
    redis = await startRedis()
  }, 240_000)
  afterAll(() => redis.stop())

  const applications = ['cjs', 'esm'].flatMap((format) =>
    readdirSync(path.join(fixtures, format)).map((file) => path.join(format, file)),
  )
  it.each(applications)('runs %s, in memory and over Redis', async (file) => {
    await redis.send('FLUSHALL')
    const passed = [200, 200, 429]
    const wanted = file.includes('testing') ? [...passed, ...passed] : passed
    for (const url of [undefined, redis.url]) {
      const { NODE_ENV: _env, NODE_OPTIONS: _options, REDIS_URL: _url, ...own } = process.env
      const env = url === undefined ? own : { ...own, REDIS_URL: url }
      const ended = spawnSync(node, [file], { cwd: folder, encoding: 'utf8', env })
      expect(ended.stderr).toBe('')
      expect(JSON.parse(ended.stdout)).toEqual(wanted)
    }
  })

  it('runs npx turnpike explain', () => {
    const { bin } = JSON.parse(
      readFileSync(path.join(import.meta.dirname, 'node_modules/turnpike/package.json'), 'utf8'),
    )
    const program = path.join(import.meta.dirname, 'node_modules/turnpike', bin.turnpike)
    expect(run(folder, node, [program, 'explain', 'TP_OPTION'])).toMatch(/^## TP_OPTION\n/)
  })
})
