/** What a decision costs Redis, and what a key weighs there. */
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { Redis } from 'ioredis'
import flexible from 'rate-limiter-flexible'
import { ENOUGH } from './apps.mjs'
import { fixed, median, print } from './table.mjs'

const ALGORITHMS = ['sliding-window', 'fixed-window', 'gcra']
const LIMITS = [100, 10_000, 1_000_000]
const SUBJECTS = Array.from({ length: 100 }, (_, i) => `10.0.0.${i}`)
const BATCH = 1000
const LONG = { '1m': 60, '1h': 3600, '1d': 86_400 }
/** So short that a sliding window's log is full by the time it is measured. */
const SHORT = { '1s': 1, '2s': 2, '3s': 3 }

/** @param lab from openLab() */
export async function measureServerSide(lab, { quick = false } = {}) {
  const { turnpike } = await import(pathToFileURL(path.join(lab.folder, 'dist/express.mjs')))
  const tp = turnpike({ redis: lab.redis.url, commandTimeout: '10s', requestBudget: '10s' })
  const storeClient = new Redis(lab.redis.port)
  await tp.ready()
  try {
    return {
      costs: await costs(lab, tp, storeClient, quick ? 9 : 41),
      weights: await weights(lab, tp, storeClient),
    }
  } finally {
    storeClient.disconnect()
    await tp.close()
  }
}

export function printServerSide({ redisVersion }, { costs, weights }) {
  print(
    `### Redis ${redisVersion}: cost of a decision`,
    ['one decision over three windows', 'windows', 'calls', 'us in scripts', 'us of CPU'],
    costs.map(({ name, windows, calls, script, cpu }) => [
      name,
      windows,
      fixed(calls, 2),
      fixed(script, 1),
      fixed(cpu, 1),
    ]),
  )
  print(
    `### Redis ${redisVersion}: bytes of one key under saturation (MEMORY USAGE)`,
    ['limit', ...LIMITS.map((limit) => limit.toLocaleString('en'))],
    weights.map(({ name, bytes }) => [name, ...bytes.map(String)]),
  )
}

async function costs(lab, tp, storeClient, batches) {
  await lab.empty()
  const rows = []
  for (const windows of [LONG, SHORT]) {
    const ways = waysOver(windows, tp, storeClient)
    // Fill the logs of short windows. Those of long ones would take too long.
    for (let i = 0; i < (windows === SHORT ? 150 : 1); i++) {
      await Promise.all(ways.flatMap(({ decide }) => SUBJECTS.map(decide)))
      await sleep(10)
    }
    for (let batch = 0; batch < batches; batch++) {
      for (const way of ways) way.samples.push(await sample(lab, way.decide))
    }
    for (const { name, samples } of ways) {
      const middle = (figure) => median(samples.map((each) => each[figure]))
      rows.push({
        name,
        windows: Object.keys(windows).join(' '),
        calls: middle('calls'),
        script: middle('script'),
        cpu: middle('cpu'),
      })
    }
  }
  return rows
}

/** Ways to decide over the same three windows. */
function waysOver(windows, tp, storeClient) {
  const names = Object.keys(windows)
  const ours = ALGORITHMS.map((algorithm) => {
    const policies = names.map((window) => ({ limit: ENOUGH, window, algorithm }))
    const limiter = tp.limiter(`${algorithm}-${names[0]}`, { policies })
    return { name: `turnpike, ${algorithm}`, decide: (subject) => limiter.consume(subject) }
  })
  const peers = Object.entries(windows).map(
    ([keyPrefix, duration]) =>
      new flexible.RateLimiterRedis({ storeClient, keyPrefix, points: ENOUGH, duration }),
  )
  const sequence = async (subject) => {
    for (const peer of peers) await peer.consume(subject)
  }
  const all = [...ours, { name: 'rate-limiter-flexible, 3 calls', decide: sequence }]
  return all.map((way) => ({ ...way, samples: [] }))
}

/** What Redis spends on a decision, in us: the medians of several batches are robust on a busy machine. */
async function sample(lab, decide) {
  await lab.forget()
  const before = await cpuOf(lab)
  await repeat(decide, BATCH)
  const cpu = (await cpuOf(lab)) - before
  const scripts = (await lab.commands()).find(({ name }) => name === 'evalsha')
  return { calls: scripts.calls / BATCH, script: scripts.usec / BATCH, cpu: (cpu * 1e6) / BATCH }
}

/** So many decisions, 50 at a time, over all subjects in turn. */
async function repeat(decide, decisions) {
  let left = decisions
  const work = async () => {
    while (left > 0) await decide(SUBJECTS[left-- % SUBJECTS.length])
  }
  await Promise.all(Array.from({ length: 50 }, work))
}

/** Seconds of CPU that Redis has used. */
async function cpuOf({ redis }) {
  const info = await redis.send('INFO', 'cpu')
  const used = (which) => Number(new RegExp(`used_cpu_${which}:(\\S+)`).exec(info)[1])
  return used('user') + used('sys')
}

/** Uses up each limit evenly over one window of 2 s, which takes the most a log may need. */
async function weights(lab, tp, storeClient) {
  const subject = '192.0.2.1'
  await lab.empty()
  const cells = ALGORITHMS.flatMap((algorithm) =>
    LIMITS.map((limit) => {
      const name = `${algorithm}-${limit}`
      return { name, limit, limiter: tp.limiter(name, { limit, window: '2s', algorithm }) }
    }),
  )
  const points = new flexible.RateLimiterRedis({ storeClient, points: LIMITS[0], duration: 60 })
  await points.consume(subject)

  const most = new Map()
  const weigh = async () => {
    for (const key of await storeClient.keys(`*${subject}*`)) {
      const bytes = await storeClient.memory('USAGE', key)
      const name = cells.find((each) => key.includes(`:${each.name}.`))?.name ?? 'peer'
      most.set(name, Math.max(most.get(name) ?? 0, bytes ?? 0))
    }
  }
  const begin = performance.now()
  for (let step = 0; performance.now() - begin < 2500; step++) {
    const share = (performance.now() - begin) / 1900
    await Promise.all(
      cells.map(async (cell) => {
        const due = Math.min(cell.limit, Math.floor(cell.limit * share)) - (cell.used ?? 0)
        if (due <= 0) return
        cell.used = (cell.used ?? 0) + due
        const { allowed } = await cell.limiter.consume(subject, { cost: due })
        cell.denied ||= !allowed
      }),
    )
    if (step % 10 === 0) await weigh()
    await sleep(3)
  }
  const rows = ALGORITHMS.map((algorithm) => ({
    name: `turnpike, ${algorithm}`,
    bytes: LIMITS.map((limit) => most.get(`${algorithm}-${limit}`)),
  }))
  rows.push({ name: 'rate-limiter-flexible', bytes: LIMITS.map(() => most.get('peer')) })
  return rows
}
