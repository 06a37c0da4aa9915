/**
 * What does not grow, and what does: `node bench/scaling.mjs [--node 24] [--requests 1000000] [--resume]`.
 * More processes on one Redis, more keys in it, memory for each item, and the heap over a million
 * requests. The figures go into figures.json, and docs/performance.md is written again.
 */
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { Redis } from 'ioredis'
import { writeDocument } from './document.mjs'
import { Figures } from './figures.mjs'
import { openLab, options } from './lab.mjs'
import { PATH } from './payload.mjs'
import { fixed, median, print } from './table.mjs'
import { allVariants } from './variants.mjs'

const STACK = '70-stack-express5/pipeline-3'
const NEAR_CACHE = 'cache-21-turnpike-near'
const COUNTS = [1, 10_000, 1_000_000]
const {
  nodes: [node],
  resume,
  requests = '1000000',
} = options({ resume: { type: 'boolean' }, requests: { type: 'string' } })

const lab = await openLab(node)
const client = new Redis(lab.redis.port)
try {
  const figures = new Figures(lab.folder, { resume })
  const variants = await allVariants(path.join(lab.folder, 'bench/variants'))
  const variantOf = (wanted) => variants.find(({ id }) => id === wanted)
  for (const [name, measure] of Object.entries({ processes, keys, tags, memory, soak })) {
    const rows = await figures.of(`scaling: ${name}`, () => measure(variantOf))
    const head = Object.keys(rows[0])
    print(
      `### ${name}`,
      head,
      rows.map((row) =>
        head.map((column) =>
          typeof row[column] === 'number' ? fixed(row[column], 1) : row[column],
        ),
      ),
    )
  }
  writeDocument()
} finally {
  client.disconnect()
  await lab.close()
}

/** One to four processes of one application on one Redis, with 32 connections each. */
async function processes(variantOf) {
  const rows = []
  for (const count of [1, 2, 4]) {
    await lab.empty()
    const apps = []
    for (let i = 0; i < count; i++) apps.push(await lab.app(node, variantOf(STACK)))
    rows.push({ count, ...(await underLoad(apps, 32 * count)) })
    for (const app of apps) app.stop()
  }
  return rows
}

/** One process, while more and more keys of the others lie in Redis. */
async function keys(variantOf) {
  const rows = []
  await lab.empty()
  const app = await lab.app(node, variantOf(STACK))
  await lab.load({ port: app.port, path: PATH, connections: 64, requests: 10_000 })
  const originals = await oneOfEach()
  for (const count of COUNTS) {
    for (const key of Object.values(originals)) await fill(key, count)
    rows.push({ count, ...(await underLoad([app], 64)) })
  }
  app.stop()
  return rows
}

/** A script that invalidates one tag, however many entries have it. */
async function tags() {
  const { turnpike } = await import(pathToFileURL(path.join(lab.folder, 'dist/express.mjs')))
  const tp = turnpike({ redis: lab.redis.url, commandTimeout: '10s', requestBudget: '10s' })
  await tp.ready()
  const rows = []
  for (const count of COUNTS) {
    const { cache } = await oneOfEach()
    await fill(cache, count)
    await lab.forget()
    const times = []
    for (let i = 0; i < 200; i++) {
      const begin = performance.now()
      await tp.cache.invalidate({ tags: ['products'] })
      times.push((performance.now() - begin) * 1000)
    }
    const calls = (await lab.commands()).reduce((sum, each) => sum + each.calls, 0)
    rows.push({ count, us: median(times), commands: calls / times.length })
  }
  await tp.close()
  return rows
}

/** What Redis and the near cache need for one more. */
async function memory(variantOf) {
  const rows = []
  await lab.empty()
  const app = await lab.app(node, variantOf(STACK))
  await lab.load({ port: app.port, path: PATH, connections: 8, requests: 1000 })
  app.stop()
  for (const [name, key] of Object.entries(await oneOfEach())) {
    const before = await usedMemory()
    await fill(key, 100_000, `weigh-${name}`)
    rows.push({ name: `${name}, in Redis`, bytes: ((await usedMemory()) - before) / 100_000 })
  }
  await lab.empty()
  const near = await lab.app(node, variantOf(NEAR_CACHE))
  const browse = (pages) =>
    lab.load({ port: near.port, path: PATH, connections: 1, requests: 4 * pages, pages })
  await browse(10)
  const before = await near.ask('heap')
  await browse(5000)
  const after = await near.ask('heap')
  rows.push({ name: 'cache, in the process', bytes: (after.used - before.used) / 5000 })
  near.stop()
  return rows
}

/** Very many requests, and the heap after each tenth of them. */
async function soak(variantOf) {
  await lab.empty()
  const app = await lab.app(node, variantOf(STACK))
  const rows = []
  const each = Number(requests) / 10
  for (let sent = 0; sent <= Number(requests); sent += each) {
    rows.push({ requests: sent, heap: (await app.ask('heap')).used })
    if (sent < Number(requests)) {
      await lab.load({ port: app.port, path: PATH, connections: 64, requests: each })
    }
  }
  app.stop()
  return rows
}

/** Requests/s over all processes, and what each request costs them and Redis. */
async function underLoad(apps, connections) {
  const ports = apps.map(({ port }) => port)
  const load = (job) => lab.load({ port: ports, path: PATH, connections, ...job })
  await load({ requests: 12_000 * apps.length })
  const samples = []
  for (let round = 0; round < 5; round++) {
    const before = await used(apps)
    const { requests, ms, p50 } = await load({ ms: 800 })
    const after = await used(apps)
    samples.push({
      rate: (requests / ms) * 1000,
      cpu: (after.apps - before.apps) / requests,
      redis: (after.redis - before.redis) / requests,
      p50,
    })
  }
  return Object.fromEntries(
    Object.keys(samples[0]).map((name) => [name, median(samples.map((each) => each[name]))]),
  )
}

/** us of CPU so far. */
async function used(apps) {
  const marks = await Promise.all(apps.map((app) => app.ask('mark')))
  const info = await client.info('cpu')
  const redis = ['user', 'sys'].map((which) =>
    Number(new RegExp(`used_cpu_${which}:(\\S+)`).exec(info)[1]),
  )
  return {
    apps: marks.reduce((sum, { cpu }) => sum + cpu, 0),
    redis: (redis[0] + redis[1]) * 1e6,
  }
}

/** Bytes, once all that was thrown away is gone. */
async function usedMemory() {
  for (;;) {
    const info = await client.info('memory')
    const of = (name) => Number(new RegExp(`${name}:(\\d+)`).exec(info)[1])
    if (of('lazyfree_pending_objects') === 0) return of('used_memory')
    await sleep(50)
  }
}

/** The name of one key of each kind that the stack has made. */
async function oneOfEach() {
  const found = await client.keys('*')
  const of = (part) => found.find((key) => key.includes(part) && !key.includes('copy'))
  return { session: of(':session:'), limiter: of(':limit:'), cache: of(':cache:') }
}

/** Copies of a key, so that there are so many. */
async function fill(key, count, name = 'copy') {
  const script = `for i = ARGV[1], ARGV[2] do redis.call('COPY', KEYS[1], KEYS[1] .. ':${name}:' .. i) end`
  for (let at = 1; at < count; at += 10_000) {
    await client.eval(script, 1, key, at, Math.min(at + 9999, count))
  }
}
