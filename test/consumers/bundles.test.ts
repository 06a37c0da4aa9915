/** An application that a bundler made one file of, without node_modules beside it, reaches Redis. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import webpack, { type Configuration } from 'webpack'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startRedis, type RedisServer } from '../../src/testing.ts'

const root = path.resolve(import.meta.dirname, '../..')
const run = promisify(execFile)

let server: RedisServer
let folder: string

beforeAll(async () => {
  server = await startRedis()
  folder = await mkdtemp(path.join(tmpdir(), 'turnpike-bundles-'))
  await mkdir(path.join(folder, 'source/node_modules'), { recursive: true })
  await symlink(root, path.join(folder, 'source/node_modules/turnpike'), 'junction')
})
afterAll(async () => {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

const USE = `
  const tp = turnpike({ redis: process.env.URL, commandTimeout: '5s' })
  tp.on('warning', ({ message }) => console.log('warning:', message))
  tp.ready().then(async () => {
    const { source } = await tp.limiter('bundled', { limit: 5, window: '1m' }).consume('me')
    console.log(source)
    await tp.close()
  }).catch((error) => {
    console.log(error.code)
    process.exitCode = 1
  })`
const ESM = `import { turnpike } from 'turnpike/node'\n${USE}`
const CJS = `const { turnpike } = require('turnpike/node')\n${USE}`

const COMMONJS: Configuration = { output: { library: { type: 'commonjs2' } } }
const MODULE: Configuration = {
  output: { module: true, library: { type: 'module' }, chunkFormat: 'module' },
  experiments: { outputModule: true },
}

/** Bundles a program and moves it where no package is. Returns its file. */
async function bundle(name: string, source: string, config: Configuration): Promise<string> {
  const entry = path.join(folder, 'source', name)
  await writeFile(entry, source)
  const directory = path.join(folder, `bundle-${name}`)
  const filename = config.experiments?.outputModule ? 'app.mjs' : 'app.cjs'
  const compiler = webpack({
    mode: 'production',
    target: 'node20',
    context: path.join(folder, 'source'),
    entry,
    optimization: { minimize: false },
    ...config,
    output: { path: directory, filename, ...config.output },
  })
  const stats = await promisify(compiler.run.bind(compiler))()
  await promisify(compiler.close.bind(compiler))()
  expect(stats!.compilation.errors).toEqual([])
  return path.join(directory, filename)
}

interface Ended {
  stdout: string
  stderr: string
  code: number
}

async function start(file: string, url: string): Promise<Ended> {
  const options = { env: { URL: url, PATH: process.env['PATH'] }, timeout: 20_000 }
  return await run(process.execPath, [file], options).then(
    (output) => ({ ...output, code: 0 }),
    (error: Ended) => error,
  )
}

describe('webpack 5', () => {
  it.each([
    ['ESM in, CommonJS out', 'esm-cjs.mjs', ESM, COMMONJS],
    ['ESM in, ESM out', 'esm-esm.mjs', ESM, MODULE],
    ['CommonJS in, CommonJS out', 'cjs-cjs.cjs', CJS, COMMONJS],
  ])('%s: the application counts in Redis', async (_name, name, source, config) => {
    const file = await bundle(name, source, config)
    expect(await start(file, server.url)).toMatchObject({ stdout: 'store\n', code: 0 })
  })

  it('finds what older versions of webpack leave of ioredis: its default export', async () => {
    const ioredis = createRequire(import.meta.url).resolve('ioredis')
    const wrapper = path.join(folder, 'source/default-only.mjs')
    await writeFile(wrapper, `export { default } from ${JSON.stringify(ioredis)}`)
    const config = { ...COMMONJS, resolve: { alias: { ioredis$: wrapper } } }
    const file = await bundle('default.mjs', ESM, config)
    expect(await start(file, server.url)).toMatchObject({ stdout: 'store\n', code: 0 })
  })

  it('a bundle in which ioredis is replaced by something else says so at start', async () => {
    const config = { ...COMMONJS, resolve: { alias: { ioredis: false as const } } }
    const file = await bundle('replaced.mjs', ESM, config)
    expect(await start(file, server.url)).toMatchObject({ stdout: 'TP_NO_IOREDIS\n', code: 1 })
  })

  it('it ends at start if nothing in it waits for Redis, in place of counting alone', async () => {
    const config = { ...COMMONJS, resolve: { alias: { ioredis: false as const } } }
    const listening = `
      import { createServer } from 'node:http'
      import { turnpike } from 'turnpike/node'
      const limit = turnpike({ redis: process.env.URL }).rateLimit({ limit: 1, window: '1m' })
      createServer((req, res) => limit(req, res, () => res.end())).listen(0)`
    const file = await bundle('listening.mjs', listening, config)
    expect(await start(file, server.url)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('TP_NO_IOREDIS'),
    })
  })
})
