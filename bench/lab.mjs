/** The processes of a benchmark: each on its own CPUs where that can be had, all ended with the run. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { pathToFileURL } from 'node:url'

const ROOT = path.join(import.meta.dirname, '..')
const PATIENCE = 60_000

/** Returns the options that all benchmarks share, with the binaries of the requested versions of Node. */
export function options(more = {}) {
  const { values, positionals } = parseArgs({
    options: { node: { type: 'string' }, ...more },
    allowPositionals: true,
  })
  const nodes = values.node?.split(',').map(nodeOf) ?? [process.execPath]
  return { ...values, positionals, nodes }
}

function nodeOf(version) {
  if (`${process.version}.`.startsWith(`v${version}.`)) return process.execPath
  const script = path.join(ROOT, 'scripts/node-version.mjs')
  return execFileSync(process.execPath, [script, version], { encoding: 'utf8' }).trim()
}

export const versionOf = (node) => execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()

/**
 * A copy of the package, freshly built, in a separate folder. Builds and edits during the run
 * change nothing there. The variants import `turnpike/express` as users do.
 */
export function stage(root = ROOT) {
  const folder = path.join(root, '.cache', `bench-${process.pid}`)
  mkdirSync(folder, { recursive: true })
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  for (const each of ['package.json', 'bench']) {
    cpSync(path.join(root, each), path.join(folder, each), { recursive: true })
  }
  const build = path.join(root, 'node_modules/tsdown/dist/run.mjs')
  const args = [build, '--out-dir', path.join(folder, 'dist'), '--log-level', 'error']
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: ['ignore', 2, 2] })
  if (status !== 0) {
    console.error('There is no benchmark without a build: see above why there is none.')
    process.exit(1)
  }
  return folder
}

/** Which CPUs there are for whom: the application has one to itself. */
function share() {
  const { status, stdout } = spawnSync('taskset', ['-cp', String(process.pid)], {
    encoding: 'utf8',
  })
  if (status !== 0) return {}
  const cpus = stdout
    .slice(stdout.lastIndexOf(':') + 1)
    .split(',')
    .flatMap((part) => {
      const [first, last = first] = part.split('-').map(Number)
      return Array.from({ length: last - first + 1 }, (_, i) => first + i)
    })
  if (cpus.length < 2) return {}
  const app = cpus.pop()
  if (cpus.length < 3) return { app, load: cpus.join(), redis: cpus.join(), proxy: cpus.join() }
  return { app, load: cpus[0], redis: cpus[1], proxy: cpus.slice(2).join() }
}

/** A child that answers each message with one. */
class Child {
  #process

  constructor(node, cpus, args) {
    const command = cpus === undefined ? [node] : ['taskset', '-c', String(cpus), node]
    this.#process = spawn(command[0], [...command.slice(1), ...args], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: { ...process.env, NODE_ENV: 'production' },
    })
    this.name = args
      .slice(0, 2)
      .map((each) => path.basename(each))
      .join(' ')
  }

  /** Resolves with its next message. */
  receive() {
    const child = this.#process
    return new Promise((resolve, reject) => {
      const done = (settle) => (value) => {
        clearTimeout(timer)
        child.off('message', received).off('exit', ended).off('error', failed)
        settle(value)
      }
      const fail = done(reject)
      const received = done(resolve)
      const ended = (code) => fail(new Error(`${this.name} ended with code ${code}`))
      const failed = (error) => fail(error)
      const timer = setTimeout(() => fail(new Error(`${this.name} does not answer`)), PATIENCE)
      child.on('message', received).on('exit', ended).on('error', failed)
    })
  }

  async ask(message) {
    const received = this.receive()
    this.#process.send(message)
    const answer = await received
    if (answer.error) throw new Error(`${this.name}: ${answer.error}`)
    return answer
  }

  stop() {
    this.#process.kill('SIGKILL')
  }
}

/** @param tools the Node that drives the load, the same for all tables */
export async function openLab(tools) {
  const folder = stage()
  const file = (...parts) => path.join(folder, 'bench', ...parts)
  const cpus = share()
  const { startRedis } = await import(pathToFileURL(path.join(folder, 'dist/testing.mjs')))
  const redis = await startRedis({ args: ['--maxmemory', '0'] })
  const info = await redis.send('INFO', 'server')
  if (cpus.redis !== undefined) {
    const [, pid] = /process_id:(\d+)/.exec(info)
    execFileSync('taskset', ['-a', '-cp', String(cpus.redis), pid], { stdio: 'ignore' })
  }
  const children = new Set()

  async function start(node, on, ...args) {
    const child = new Child(node, on, args)
    children.add(child)
    const { port } = await child.receive()
    return { child, port }
  }

  const load = (await start(tools, cpus.load, file('load.mjs'))).child
  const proxy = await start(tools, cpus.proxy, file('proxy.mjs'), String(redis.port))

  return {
    folder,
    redis,
    cpus,
    /** Redis through the proxy, for what runs in the benchmark's own process. */
    distantUrl: `redis://127.0.0.1:${proxy.port}`,
    redisVersion: /redis_version:(\S+)/.exec(info)[1],
    /** Serve a variant. @param distant through the proxy @param from a folder that `stage` returned */
    async app(node, { file: variant, name }, { distant = false, from = folder } = {}) {
      const port = distant ? proxy.port : redis.port
      const url = `redis://127.0.0.1:${port}`
      const script = path.join(from, 'bench/variants', variant)
      const app = await start(node, cpus.app, path.join(from, 'bench/app.mjs'), script, name, url)
      return {
        port: app.port,
        ask: (message) => app.child.ask(message),
        stop() {
          children.delete(app.child)
          app.child.stop()
        },
      }
    },
    load: (job) => load.ask(job),
    /** Sets the delay, in ms each way. Resolves with what has passed since the last call. */
    proxy: (delay) => proxy.child.ask({ delay }),
    /** What Redis did: calls, µs and µs of CPU, by command, since the last `forget`. */
    async commands() {
      const stats = await redis.send('INFO', 'commandstats')
      const found = stats.matchAll(/cmdstat_(\S+?):calls=(\d+),usec=(\d+)/g)
      return [...found]
        .map(([, name, calls, usec]) => ({ name, calls: Number(calls), usec: Number(usec) }))
        .filter(({ name }) => !OURS.has(name))
    },
    forget: () => redis.send('CONFIG', 'RESETSTAT'),
    // In the background: of millions of keys Redis would not answer for seconds.
    empty: () => redis.send('FLUSHALL', 'ASYNC'),
    async close() {
      for (const child of children) child.stop()
      await redis.stop()
    },
  }
}

/** What the lab itself sends. */
const OURS = new Set(['info', 'quit', 'config|resetstat', 'flushall'])
