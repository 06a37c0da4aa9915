import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { startRedis } from '../../../../src/testing.ts'

// LEASE_ATTEMPTS=100000 runs until so many decisions are made, and kills and stops processes.
const ATTEMPTS = Number(process.env.LEASE_ATTEMPTS ?? 0)
const PROCESSES = 8
const LEASE = 200
/** Without LEASE_ATTEMPTS. */
const LEAST_ATTEMPTS = 2_000
const LEAST_LEASED = 100
const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url))

/** Earliest and latest time of a decision, in ms, its cost, and which limiter made it. */
type Use = [earliest: number, latest: number, cost: number, limiter: number]

/** Returns the most that is certainly admitted within `window` ms. */
function mostWithin(uses: readonly Use[], window: number): number {
  const sorted = uses.toSorted((a, b) => a[1] - b[1])
  let most = 0
  let from = 0
  for (const [, latest] of sorted) {
    while (sorted[from]![1] <= latest - window) from++
    let sum = 0
    for (let i = from; i < sorted.length && sorted[i]![1] <= latest; i++)
      if (sorted[i]![0] > latest - window) sum += sorted[i]![2]
    most = Math.max(most, sum)
  }
  return most
}

/** Returns the most that is certainly admitted within one period. */
function mostInAPeriod(uses: readonly Use[], window: number): number {
  const sums = new Map<number, number>()
  for (const [earliest, latest, cost] of uses) {
    const period = Math.floor(earliest / window)
    if (period === Math.floor(latest / window)) sums.set(period, (sums.get(period) ?? 0) + cost)
  }
  return Math.max(0, ...sums.values())
}

/** Returns the most that is certainly admitted in any interval, less what GCRA admits in such a time. */
function mostAtOnce(uses: readonly Use[], window: number, limit: number): number {
  const byEnd = uses.toSorted((a, b) => a[1] - b[1])
  const byStart = uses.toSorted((a, b) => a[0] - b[0])
  let [most, next] = [0, 0]
  for (const [, latest] of byEnd) {
    while (next < byStart.length && byStart[next]![0] <= latest) next++
    let sum = 0
    for (let i = next - 1; i >= 0 && byStart[i]![0] > latest - 2 * window; i--) {
      const [earliest, end, cost] = byStart[i]!
      if (end <= latest) sum += cost
      most = Math.max(most, sum - ((latest - earliest) * limit) / window)
    }
  }
  return most
}

interface Totals {
  uses: Use[]
  attempts: number
  leased: number
  kills: number
  stops: number
}

/** Runs processes until they have made enough decisions, also from leases. */
async function hammer(options: readonly object[]): Promise<Totals> {
  await using redis = await startRedis()
  const totals: Totals = { uses: [], attempts: 0, leased: 0, kills: 0, stops: 0 }
  const isEnough = (): boolean =>
    totals.attempts >= Math.max(ATTEMPTS, LEAST_ATTEMPTS) && totals.leased >= LEAST_LEASED
  const children = new Set<ChildProcess>()

  async function start(): Promise<void> {
    const child = fork(WORKER, [
      JSON.stringify({
        url: redis.url,
        options,
        maxCost: 7,
        pace: ATTEMPTS > 0 ? 2 : 25,
      }),
    ])
    children.add(child)
    child.on('exit', () => children.delete(child))
    child.on('message', (message) => {
      if (typeof message !== 'object') return
      const { uses, attempts, leased } = message as Totals
      totals.uses.push(...uses)
      totals.attempts += attempts
      totals.leased += leased
    })
    await once(child, 'message')
  }

  /** A process that is killed before it is ready is not missed. */
  async function restart(): Promise<void> {
    const before = new Set(children)
    await start().catch(() => {})
    for (const child of children) if (!before.has(child) && child.connected) child.send('go')
  }

  try {
    await Promise.all(Array.from({ length: PROCESSES }, start))
    for (const child of children) child.send('go')
    while (children.size > 0 && !isEnough()) {
      await new Promise((resolve) => setTimeout(resolve, 100))
      if (ATTEMPTS === 0) continue
      const [child] = [...children].toSorted(() => Math.random() - 0.5)
      if (Math.random() < 0.15 && child) {
        totals.kills++
        child.kill('SIGKILL')
        void restart()
      } else if (Math.random() < 0.3 && child) {
        totals.stops++
        child.kill('SIGSTOP')
        setTimeout(() => child.kill('SIGCONT'), LEASE * (1 + Math.random() * 3))
      }
    }
  } finally {
    for (const child of children) child.kill('SIGKILL')
  }
  return totals
}

test(
  '8 processes with leases never admit more than a limit in any window, costs 1 to 7',
  async () => {
    const [limit, window] = [1_280, 2_000]
    const shared = { limit, window, lease: { for: LEASE } }
    const { uses, attempts, leased, kills, stops } = await hammer([
      shared,
      { ...shared, algorithm: 'fixed-window' },
      { ...shared, algorithm: 'gcra' },
    ])
    const of = (limiter: number): Use[] => uses.filter((use) => use[3] === limiter)
    const most = [
      mostWithin(of(0), window),
      mostInAPeriod(of(1), window),
      mostAtOnce(of(2), window, limit),
    ]
    console.log(
      `${attempts} attempts, ${uses.length} admitted, ${leased} from leases, ${kills} killed, ${stops} stopped, most of ${limit}: ${most.join(', ')}`,
    )
    for (const admitted of most) expect(admitted).toBeLessThanOrEqual(limit)
    expect(leased).toBeGreaterThan(0)
  },
  ATTEMPTS > 0 ? 700_000 : 60_000,
)
