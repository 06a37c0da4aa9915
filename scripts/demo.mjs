/**
 * Builds what is needed and serves an example, by default the shop, on http://127.0.0.1:3000 or the
 * next free port. The example imports the built package by name.
 *
 *   npm run demo                       over REDIS_URL, else in this process
 *   npm run demo -- --redis            over a redis-server of its own
 *   npm run demo -- koa                another of examples/
 *   npm run demo -- platforms/nexus    one of examples/platforms/
 *   PORT=8080 npm run demo
 */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { requestsOf } from './example-requests.mjs'

const HOST = '127.0.0.1'
const root = path.join(import.meta.dirname, '..')
const at = (...parts) => path.join(root, ...parts)

/** Returns when the newest of these files and folders was changed. */
function newest(...paths) {
  const files = paths.flatMap((each) => {
    if (!statSync(each).isDirectory()) return [each]
    return readdirSync(each, { recursive: true }).map((file) => path.join(each, file))
  })
  return Math.max(...files.map((file) => statSync(file).mtimeMs))
}

const isFresh = (output, ...inputs) =>
  existsSync(output) && statSync(output).mtimeMs > newest(...inputs)

/** Runs tsdown. It prints only errors. */
async function bundle(options) {
  const { build } = await import('tsdown')
  await build({ cwd: root, logLevel: 'error', ...options })
}

async function buildPackage() {
  const inputs = ['src', 'package.json', 'tsdown.config.ts'].map((each) => at(each))
  if (isFresh(at('dist/testing.mjs'), ...inputs)) return
  console.log('Building the package ...')
  await bundle({})
}

/** Compiles an example, since Node 20 does not read TypeScript. Returns the path of its server. */
async function buildExample(name) {
  const folder = at('.cache/demo', name)
  const server = path.join(folder, 'server.mjs')
  const inputs = [at('examples', name), at('examples/platforms'), import.meta.filename]
  if (isFresh(server, ...inputs)) return server
  await bundle({
    config: false,
    entry: ['server.ts', 'worker.ts']
      .map((file) => at('examples', name, file))
      .filter((file) => existsSync(file)),
    outDir: folder,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    dts: false,
    fixedExtension: true,
    deps: { neverBundle: /^[@a-z]/ },
    // Here, Express 4 is installed under another name.
    ...(name === 'express4' && { outputOptions: { paths: { express: 'express4' } } }),
  })
  return server
}

/** Resolves with the port, for 0 with one that the system chose, or with undefined if it is taken. */
function bindable(port) {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen(port, HOST, () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

async function freePort(first) {
  for (let port = first; port < first + 100; port++) {
    const free = await bindable(port)
    if (free !== undefined) return free
  }
  throw new Error(`No port from ${first} to ${first + 99} is free: set PORT.`)
}

async function main() {
  const names = ['.', 'platforms']
    .flatMap((folder) => readdirSync(at('examples', folder)).map((name) => path.join(folder, name)))
    .filter((name) => existsSync(at('examples', name, 'server.ts')))
  const { values, positionals } = parseArgs({
    options: { redis: { type: 'boolean' } },
    allowPositionals: true,
  })
  const [name = 'shop'] = positionals
  if (!names.includes(name))
    throw new Error(`There is no example ${name}; there are ${names.join(', ')}.`)

  await buildPackage()
  const server = await buildExample(name)
  process.env.PORT = String(await freePort(Number(process.env.PORT || 3000)))

  // Not a static import: the package may just have been built.
  const redis = values.redis ? await (await import('turnpike/testing')).startRedis() : undefined
  if (redis) process.env.REDIS_URL = redis.url
  try {
    // It serves until SIGINT or SIGTERM. Then its last line is reached.
    const requests = requestsOf(name.replaceAll(path.sep, '/'))
    if (requests.length > 0) console.log('Requests to try, once it listens:')
    for (const { line } of requests)
      console.log(`  ${line.replace(':3000', `:${process.env.PORT}`)}`)
    await import(pathToFileURL(server).href)
  } finally {
    await redis?.stop()
  }
}

try {
  await main()
} catch (error) {
  const missing = error.code === 'ERR_MODULE_NOT_FOUND' && error.message.includes("'tsdown'")
  console.error(missing ? 'Run npm ci first.' : error.message)
  process.exit(1)
}
