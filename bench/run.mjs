/**
 * Compares turnpike with its peers: `npm run bench -- [--quick] [--node 20,24] [--only <part of a name>]`.
 * See README.md for what the figures mean and how a variant is added.
 */
import { readdirSync } from 'node:fs'
import { loadavg } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { openLab, options, versionOf } from './lab.mjs'
import { PATH } from './payload.mjs'
import { printServerSide } from './server-side.mjs'
import { fixed, median, print } from './table.mjs'

const CONNECTIONS = 64
const FAR = 5
const { quick, only, nodes } = options({ quick: { type: 'boolean' }, only: { type: 'string' } })
const effort = quick
  ? { warm: 3000, rounds: 5, ms: 400, serial: 100, far: 25, delays: [0] }
  : { warm: 20_000, rounds: 7, ms: 2000, serial: 500, far: 100, delays: [0, 1] }

/** The variants that were asked for, and the bare framework of each. */
async function variantsIn(folder) {
  const variants = await Promise.all(
    readdirSync(folder)
      .sort()
      .map(async (file) => {
        const { title, group } = await import(pathToFileURL(path.join(folder, file)))
        return { file, title, group }
      }),
  )
  const wanted = only?.split(',') ?? ['']
  return variants.filter(({ file, group }, i) => {
    const isBare = variants.findIndex((each) => each.group === group) === i
    return (
      wanted.some((part) => file.includes(part)) ||
      (isBare &&
        variants.some(
          (each) => each.group === group && wanted.some((part) => each.file.includes(part)),
        ))
    )
  })
}

/** Start all variants, send each so many requests, have `work` done, stop them. */
async function withApps(lab, node, variants, { distant, warm }, work) {
  const apps = new Map()
  await lab.empty()
  for (const { file } of variants) apps.set(file, await lab.app(node, file, { distant }))
  for (const app of apps.values()) await loadOn(lab, app, { requests: warm })
  await work(apps)
  for (const app of apps.values()) app.stop()
}

const loadOn = (lab, { port }, job) =>
  lab.load({ port, path: PATH, connections: CONNECTIONS, ...job })

/** One round of one variant under load. */
async function sample(lab, app) {
  const before = await app.ask('mark')
  const { requests, ms, p50, p99 } = await loadOn(lab, app, { ms: effort.ms })
  const after = await app.ask('mark')
  const cpu = after.cpu - before.cpu
  return {
    rate: (requests / ms) * 1000,
    cpu: cpu / requests,
    busy: cpu / 1000 / ms,
    p50,
    p99,
    degraded: (after.degraded - before.degraded) / requests,
  }
}

/** Rounds over all variants, one after the other and again, and the medians of each. */
async function throughput(lab, node, variants, delay) {
  const samples = new Map(variants.map(({ file }) => [file, []]))
  await withApps(lab, node, variants, { distant: delay > 0, warm: effort.warm }, async (apps) => {
    await lab.proxy(delay)
    for (let round = 0; round < effort.rounds; round++) {
      for (const { file } of variants) samples.get(file).push(await sample(lab, apps.get(file)))
    }
  })
  const middle = (all) =>
    Object.fromEntries(
      Object.keys(all[0]).map((name) => [name, median(all.map((each) => each[name]))]),
    )
  const least = (all) => Math.min(...all.map(({ cpu }) => cpu))
  return new Map([...samples].map(([file, all]) => [file, { ...middle(all), least: least(all) }]))
}

/** One request at a time: what each needs of Redis, and how often it waits for it. */
async function serial(lab, node, variants) {
  const found = new Map()
  await withApps(lab, node, variants, { distant: true, warm: 200 }, async (apps) => {
    for (const { file } of variants) {
      const app = apps.get(file)
      const one = (requests) => loadOn(lab, app, { connections: 1, requests })
      await lab.proxy(0)
      await one(50)
      await lab.forget()
      await lab.proxy(0)
      const near = await one(effort.serial)
      const counted = await lab.proxy(FAR)
      const commands = await lab.commands()
      await one(3)
      await lab.proxy(FAR)
      const far = await one(effort.far)
      const { hold } = await lab.proxy(0)
      found.set(file, {
        commands: counted.commands / near.requests,
        trips: counted.trips / near.requests,
        // By what it was really held back: a timer's 5 ms are longer.
        slope: hold > 0 ? (far.p25 - near.p25) / (2 * hold) : 0,
        calls: commands.map(({ name, calls }) => ({ name, calls: calls / near.requests })),
      })
    }
  })
  return found
}

function printThroughput(variants, results, where, delay) {
  const bareOf = ({ group }) => results.get(variants.find((each) => each.group === group).file)
  const rows = variants.map((variant) => {
    const { rate, cpu, least, busy, p50, p99, degraded } = results.get(variant.file)
    const bare = bareOf(variant)
    return [
      variant.title,
      fixed(rate, 0),
      fixed(rate / bare.rate, 2),
      fixed(cpu, 1),
      fixed(cpu / bare.cpu, 2),
      fixed(least, 1),
      fixed(p50, 2),
      fixed(p99, 2),
      fixed(busy, 2),
      degraded > 0 ? `${fixed(degraded * 100, 1)} %` : '0',
    ]
  })
  const head = [
    'variant',
    'requests/s',
    'x bare',
    'CPU us',
    'x bare',
    'least',
    'p50 ms',
    'p99 ms',
    'busy',
    'without Redis',
  ]
  print(`### ${where}, ${CONNECTIONS} connections, ${delay} ms each way to Redis`, head, rows)
}

function printSerial(variants, results, where) {
  const rows = variants.map(({ file, title }) => {
    const { commands, trips, slope, calls } = results.get(file)
    const ran = calls
      .filter((each) => each.calls >= 0.05)
      .map(({ name, calls }) => `${name} ${fixed(calls, 1)}`)
    return [title, fixed(commands, 2), fixed(trips, 2), fixed(slope, 2), ran.join(', ')]
  })
  const head = [
    'variant',
    'commands',
    'trips',
    'trips by latency',
    'run by Redis, scripts included',
  ]
  print(`### ${where}, one request at a time: Redis per request`, head, rows)
}

const begin = performance.now()
const tools = nodes.at(-1)
const lab = await openLab(tools)
try {
  const variants = await variantsIn(path.join(lab.folder, 'bench/variants'))
  const pinned = Object.entries(lab.cpus)
    .map(([who, cpus]) => `${who} ${cpus}`)
    .join(', ')
  console.log(
    `Redis ${lab.redisVersion}; ${pinned ? `CPUs: ${pinned}` : 'not pinned'}; load average ${fixed(loadavg()[0], 1)}; load by Node ${versionOf(tools)}`,
  )
  for (const node of nodes) {
    const where = `Node ${versionOf(node)}`
    for (const delay of effort.delays) {
      printThroughput(variants, await throughput(lab, node, variants, delay), where, delay)
    }
    printSerial(variants, await serial(lab, node, variants), where)
  }
  await printServerSide(lab, { quick })
} finally {
  await lab.close()
}
console.log(
  `\n${fixed((performance.now() - begin) / 1000, 0)} s; load average ${fixed(loadavg()[0], 1)}`,
)
