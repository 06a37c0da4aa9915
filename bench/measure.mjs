/** How variants are measured. Each kind of measurement returns figures by the IDs of variants. */
import { PATH } from './payload.mjs'
import { median } from './table.mjs'

const FAR = 5

/** Start all variants, send each so many requests, have `work` done, stop them. */
export async function withApps(lab, node, variants, { distant, warm }, work) {
  const apps = new Map()
  await lab.empty()
  try {
    for (const variant of variants) {
      apps.set(variant.id, await lab.app(node, variant, { distant }))
    }
    for (const variant of variants) {
      await loadOn(lab, apps.get(variant.id), variant, { connections: 64, requests: warm })
    }
    return await work(apps)
  } finally {
    for (const app of apps.values()) app.stop()
  }
}

const loadOn = (lab, { port }, { method }, job) => lab.load({ port, path: PATH, method, ...job })

/**
 * What comes before each measurement and is not measured: a request for each session of `sessions.mjs`.
 * Copies in the process are then there, as in a process that is in use.
 */
const RUN_IN = { requests: 500, ms: 1000 }

/** One round of one variant under load. */
async function sample(lab, app, variant, job) {
  await loadOn(lab, app, variant, { ...RUN_IN, connections: job.connections })
  const before = await app.ask('mark')
  const { requests, ms, p50, p99 } = await loadOn(lab, app, variant, job)
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

/**
 * Rounds over all variants, one after the other and again, and the medians of each.
 * @param job what the load generator does in a round
 */
export async function throughput(lab, apps, variants, { delay, rounds, ...job }) {
  const samples = new Map(variants.map(({ id }) => [id, []]))
  await lab.proxy(delay)
  for (let round = 0; round < rounds; round++) {
    // Who comes after whom must not be the same each time.
    for (let turn = 0; turn < variants.length; turn++) {
      const variant = variants[(turn + round) % variants.length]
      const { id } = variant
      samples.get(id).push(await sample(lab, apps.get(id), variant, job))
    }
  }
  await lab.proxy(0)
  const middle = (all) =>
    Object.fromEntries(
      Object.keys(all[0]).map((name) => [name, median(all.map((each) => each[name]))]),
    )
  const least = (all) => Math.min(...all.map(({ cpu }) => cpu))
  return Object.fromEntries(
    [...samples].map(([id, all]) => [id, { ...middle(all), least: least(all) }]),
  )
}

/** What an open loop compares. The peers reach too little for the rate of the others. */
const IN_OPEN_LOOP = /\/(bare|ping|(pipeline|near)-3)$/

/**
 * The latency while requests arrive at fixed intervals, at half of the rate that the slowest of the
 * variants reaches: the same for all.
 */
export async function openLoop(lab, apps, variants, { delay, connections, rounds, ms }) {
  const some = variants.filter(({ id }) => IN_OPEN_LOOP.test(id))
  const peaks = await throughput(lab, apps, some, { delay, connections, rounds: 3, ms: ms / 2 })
  const rate = Math.min(...Object.values(peaks).map((each) => each.rate)) / 2
  return throughput(lab, apps, some, { delay, connections, rounds, ms, rate })
}

/** What a process sends Redis that is in use for longer than its copies live. */
export async function steady(lab, apps, variants, { delay, connections, ms }) {
  const found = {}
  for (const variant of variants.filter(({ id }) => id.includes('near'))) {
    const load = (time) => loadOn(lab, apps.get(variant.id), variant, { connections, ms: time })
    await lab.proxy(delay)
    await load(ms / 3)
    await lab.proxy(delay)
    const { requests, ms: elapsed } = await load(ms)
    const { commands } = await lab.proxy(0)
    found[variant.id] = { commands: commands / requests, rate: (requests / elapsed) * 1000 }
  }
  return found
}

/** One request at a time: what each needs of Redis, and how often it waits for it. */
export async function serial(lab, apps, variants, { serial: { near, far } }) {
  const found = {}
  for (const variant of variants) {
    const one = (requests) =>
      loadOn(lab, apps.get(variant.id), variant, { connections: 1, requests })
    await lab.proxy(0)
    await one(RUN_IN.requests)
    await lab.forget()
    await lab.proxy(0)
    const close = await one(near)
    const counted = await lab.proxy(FAR)
    const commands = await lab.commands()
    await one(3)
    await lab.proxy(FAR)
    const distant = await one(far)
    const { hold } = await lab.proxy(0)
    found[variant.id] = {
      commands: counted.commands / close.requests,
      trips: counted.trips / close.requests,
      // By what it was really held back: a timer's 5 ms are longer.
      slope: hold > 0 ? (distant.p25 - close.p25) / (2 * hold) : 0,
      calls: commands
        .map(({ name, calls }) => ({ name, calls: calls / close.requests }))
        .filter(({ calls }) => calls >= 0.05),
    }
  }
  return found
}
