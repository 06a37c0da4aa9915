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

/** One round of one variant under load. */
async function sample(lab, app, variant, job) {
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

/** Rounds over all variants, one after the other and again, and the medians of each. */
export async function throughput(lab, apps, variants, { delay, connections, rounds, ms }) {
  const samples = new Map(variants.map(({ id }) => [id, []]))
  await lab.proxy(delay)
  for (let round = 0; round < rounds; round++) {
    // Who comes after whom must not be the same each time.
    for (let turn = 0; turn < variants.length; turn++) {
      const variant = variants[(turn + round) % variants.length]
      const { id } = variant
      samples.get(id).push(await sample(lab, apps.get(id), variant, { connections, ms }))
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

/** One request at a time: what each needs of Redis, and how often it waits for it. */
export async function serial(lab, apps, variants, { near, far }) {
  const found = {}
  for (const variant of variants) {
    const one = (requests) =>
      loadOn(lab, apps.get(variant.id), variant, { connections: 1, requests })
    await lab.proxy(0)
    await one(50)
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
