/** A master dies or freezes: what Sentinel's clients see, and what a Cluster's. */
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import type { RedisServer } from '../../src/testing.ts'
import { slotOf } from '../../src/store/slot.ts'
import { openSite, type Answer, type AnyTurnpike, type Site } from '../faults/matrix/site.ts'
import { startCluster } from '../support/cluster.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { Payments } from './payments.ts'
import { startSentinel } from '../support/sentinel.ts'
import { until } from '../support/until.ts'

/** The defaults, and what a request may take besides, in ms. */
const [TIMEOUT, BUDGET, GRACE] = [100, 150, 30]
/** From the failover's decision until all is well. */
const RECOVERY = 3500
/** Between two requests of a kind for a subject. */
const PACE = 20
const MANY = 1_000_000

const rejections: unknown[] = []
process.on('unhandledRejection', (reason) => rejections.push(reason))
afterEach(() => expect(rejections.splice(0)).toEqual([]))

/** A kind of request. */
interface Kind {
  /** What it is answered while its server is there, and what while it is away. */
  well: readonly number[]
  away: readonly number[]
  /** How often in a row it asks Redis something, and waits for it. */
  waits: 'once' | 'twice'
  /** All that it keeps is in the slot of its subject. */
  isAtSubject?: boolean
}

const KINDS: Record<string, Kind> = {
  '/limited': { well: [200], away: [200], waits: 'once', isAtSubject: true },
  '/closed': { well: [200], away: [503], waits: 'once', isAtSubject: true },
  '/login': { well: [401], away: [401], waits: 'once' },
  '/session': { well: [200], away: [503], waits: 'once' },
  '/cached': { well: [200], away: [200], waits: 'once' },
  '/data': { well: [200], away: [200], waits: 'once' },
  '/paid': { well: [200], away: [503], waits: 'twice' },
  // A lock is given back behind the answer: the next request may be quicker.
  '/exclusive': { well: [200, 423], away: [503], waits: 'once', isAtSubject: true },
  '/concurrent': { well: [200], away: [503], waits: 'once' },
}
const isKnown = (path: string, status: number): boolean =>
  [...KINDS[path]!.well, ...KINDS[path]!.away].includes(status)

function mount(site: Site, tp: AnyTurnpike, payments: Payments): void {
  const key = (x: any): string => String(x.headers['x-subject'])
  const echo = (x: any): readonly [number, string] => [200, key(x)]
  const limit = { limit: MANY, window: '1h', key } as const
  site.serve('/limited', [tp.rateLimit(limit)], echo)
  site.serve('/closed', [tp.rateLimit({ ...limit, fail: 'closed', name: 'closed' })], echo)
  site.serve('/login', [tp.loginGuard({ ...limit, addressLimit: MANY })], (x) => [401, key(x)])
  site.serve('/session', [tp.session({ secret: 'a secret', saveUninitialized: true })], echo)
  site.serve('/cached', [tp.cache({ ttl: '1m', public: true, key })], echo)
  site.serve('/data', [], async (x) => [
    200,
    await tp.data.getOrFetch(`of ${key(x)}`, () => key(x), { ttl: '1m' }),
  ])
  site.serve('/paid', [tp.idempotency({ scope: key })], ({ headers }: any) => [
    200,
    payments.run(headers['idempotency-key']),
  ])
  site.serve('/exclusive', [tp.exclusive({ key })], echo)
  site.serve('/concurrent', [tp.concurrency({ limit: 1000, key })], echo)
}

interface Seen extends Answer {
  path: string
  subject: string
  /** When it was asked, by performance.now(). */
  at: number
}

/** Requests everything in rounds until it is stopped. */
function traffic(
  site: Site,
  subjects: readonly string[],
  payments: Payments,
): { seen: Seen[]; pay(key: string, subject: string): Promise<Seen>; stop(): Promise<void> } {
  const seen: Seen[] = []
  let going = true
  async function ask(path: string, subject: string, headers = {}): Promise<Seen> {
    const at = performance.now()
    const method = path === '/paid' ? 'POST' : 'GET'
    const answer = await site.ask({ path, method, headers: { 'x-subject': subject, ...headers } })
    const what = { ...answer, path, subject, at }
    // A refusal has a body of its own.
    if (KINDS[path]!.well.includes(answer.status) && answer.status < 402 && path !== '/paid')
      expect(answer.body).toBe(subject)
    return what
  }
  async function pay(key: string, subject: string): Promise<Seen> {
    const answer = await ask('/paid', subject, { 'idempotency-key': key })
    payments.note(key, answer)
    return answer
  }
  async function one(path: string, subject: string): Promise<void> {
    const first = await ask(path, subject)
    const [cookie = ''] = [first.headers['set-cookie'] ?? []].flat()
    while (going) {
      seen.push(
        path === '/paid'
          ? await pay(payments.next(subject), subject)
          : await ask(path, subject, cookie && { cookie: cookie.split(';')[0]! }),
      )
      await new Promise((resolve) => setTimeout(resolve, PACE))
    }
  }
  const all = Object.keys(KINDS).flatMap((path) => subjects.map((subject) => one(path, subject)))
  const done = Promise.all(all)
  done.catch(() => {})
  async function stop(): Promise<void> {
    going = false
    await done
  }
  return { seen, pay, stop }
}

const isWell = ({ path, status }: Seen): boolean => KINDS[path]!.well.includes(status)

/** On a loaded machine a healthy Redis misses the timeout, too. */
const areWell = (seen: readonly Seen[]): boolean => seen.length >= 150 && seen.every(isWell)

/** By how much an answer was later than it may be, without the time in which this process did not run. */
const lateness = ({ path, ms, lost }: Seen): number =>
  ms - lost.ms - lost.spared - GRACE - (KINDS[path]!.waits === 'once' ? TIMEOUT : BUDGET)

interface Verdict {
  statuses: Record<string, number[]>
  late: Seen[]
  /** From the failover's decision until all was well, in ms. */
  recovery: number
}

/** Every answer was documented; which came too late? */
function judge(what: string, seen: readonly Seen[], decided: number): Verdict {
  const statuses: Record<string, number[]> = {}
  for (const path of Object.keys(KINDS)) {
    const own = seen.filter((each) => each.path === path)
    statuses[path] = [...new Set(own.map(({ status }) => status))].toSorted((a, b) => a - b)
  }
  const slowest = Math.max(...seen.map(({ ms, lost }) => ms - lost.ms))
  const bad = seen.filter((each) => !isWell(each))
  const recovery = Math.max(decided, ...bad.map(({ at, ms }) => at + ms)) - decided
  console.log(
    `${what}: slowest ${slowest.toFixed(0)} ms, well again ${recovery.toFixed(0)} ms after the failover (${RECOVERY})`,
    JSON.stringify(statuses),
  )
  expect(seen.filter(({ path, status }) => !isKnown(path, status))).toEqual([])
  return { statuses, late: seen.filter((each) => lateness(each) > 0), recovery }
}

/**
 * Redis and the kernel may be starved on a loaded machine, which this process cannot measure: slowness is tried three
 * times, as in the matrix of faults. Statuses and effects must be right each time.
 */
async function trial(run: () => Promise<Verdict>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const { late, recovery } = await run()
    if (attempt < 3 && (late.length > 0 || recovery > RECOVERY)) continue
    expect(late).toEqual([])
    expect(recovery).toBeLessThan(RECOVERY)
    return
  }
}

/** What is acknowledged by now has reached the replica. */
async function replicated(master: RedisServer, replica: RedisServer): Promise<void> {
  const offsetOf = async (server: RedisServer, name: string): Promise<number> =>
    Number(new RegExp(`${name}:(\\d+)`).exec(await server.send('INFO', 'replication'))![1])
  const now = await offsetOf(master, 'master_repl_offset')
  await until(
    'the replica has it all',
    async () => (await offsetOf(replica, 'slave_repl_offset')) >= now,
  )
}

const faults: [name: string, fail: (server: RedisServer) => Promise<void> | void][] = [
  ['is killed', (server) => server.kill()],
  ['freezes', (server) => server.freeze()],
]
const cells = (['Express 5', 'Koa 3'] as const).flatMap((framework) =>
  faults.map(([name, fail]) => ({ framework, name, fail })),
)

describe('Sentinel', () => {
  it.each(cells)(
    '$framework, the master $name: the replica takes over, and all is well again',
    { timeout: 120_000 },
    async ({ framework, name, fail }) =>
      await trial(async () => {
        await using sentinel = await startSentinel()
        await using site = await openSite(framework)
        const tp = site.turnpike({ redis: sentinel.source, prefix: 'failover' })
        const payments = new Payments()
        mount(site, tp, payments)
        await tp.ready()
        const { seen, pay, stop } = traffic(site, ['ann', 'bob'], payments)
        try {
          await until('all is well', () => areWell(seen.slice(-150)), 10_000)

          await payments.settle(() => replicated(sentinel.master, sentinel.replica))
          await fail(sentinel.master)
          payments.fail(BUDGET + GRACE)
          const { port } = sentinel.replica
          await until('the failover', async () => (await sentinel.masterPort()) === port, 15_000)
          const decided = performance.now()
          await until('all is well again', () => tp.status().status === 'ok', 10_000)
          const count = seen.length
          await until('it stays well', () => seen.length > count + 150)
          await stop()
          await payments.complete(pay, decided + RECOVERY)
          const verdict = judge(`Sentinel, the master ${name}`, seen, decided)
          for (const path of ['/closed', '/session', '/paid'])
            expect([path, verdict.statuses[path]]).toEqual([path, [200, 503]])
          payments.expectOnce()
          return verdict
        } finally {
          sentinel.master.thaw()
          await stop()
        }
      }),
  )
})

it('Sentinel tells of the failover while a client is about to connect: it connects all the same', async () => {
  await using sentinel = await startSentinel()
  const proxies = await Promise.all(
    sentinel.source.sentinels.map(({ port }) => startFaultProxy(port)),
  )
  onTestFinished(async () => void (await Promise.all(proxies.map((proxy) => proxy.close()))))
  await using site = await openSite('Express 5')
  const tp = site.turnpike({
    redis: {
      name: sentinel.source.name,
      sentinels: proxies.map(({ port }) => ({ host: '127.0.0.1', port })),
      updateSentinels: false,
    },
  })
  await tp.ready()
  // From now on most of the time goes into asking where the master is.
  for (const proxy of proxies) proxy.set({ latency: 1000 })
  await sentinel.master.kill()
  const { port } = sentinel.replica
  await until('the failover', async () => (await sentinel.masterPort()) === port, 15_000)
  // The news is as slow as everything else.
  await new Promise((resolve) => setTimeout(resolve, 1200))
  for (const proxy of proxies) proxy.set({ latency: 0 })
  await until('all is well again', () => tp.status().status === 'ok', 5000)
})

describe('a Cluster', () => {
  it.each(cells)(
    '$framework, one master $name: the others serve on, and its replica takes over',
    { timeout: 120_000 },
    async ({ framework, name, fail }) =>
      await trial(async () => {
        await using cluster = await startCluster({
          // With its default a Cluster refuses all keys until the replica has taken over.
          args: ['--cluster-require-full-coverage', 'no'],
        })
        await using site = await openSite(framework)
        const tp = site.turnpike({ redis: { cluster: cluster.startup }, prefix: 'failover' })
        const payments = new Payments()
        mount(site, tp, payments)
        await tp.ready()
        const victim = await cluster.ownerOf(slotOf('{user0}'))
        const replica = (await cluster.view()).find(({ master }) => master === victim.id)!
        const isDying = async (subject: string): Promise<boolean> =>
          (await cluster.ownerOf(slotOf(`{${subject}}`))).node === victim.node
        const dying: string[] = []
        const living: string[] = []
        for (let i = 0; dying.length < 3 || living.length < 3; i++) {
          const among = (await isDying(`user${i}`)) ? dying : living
          if (among.length < 3) among.push(`user${i}`)
        }
        const { seen, pay, stop } = traffic(site, [...dying, ...living], payments)
        try {
          await until('all is well', () => areWell(seen.slice(-500)), 10_000)

          const events: string[] = []
          for (const name of ['breaker', 'replaced'] as const)
            tp.on(name, (event) => events.push(JSON.stringify({ name, ...event })))
          await payments.settle(() => replicated(victim.node, cluster.byPort(replica.port)))
          await fail(victim.node)
          payments.fail(BUDGET + GRACE)
          const failed = performance.now()
          const others = cluster.nodes.filter((node) => node !== victim.node)
          const hasMoved = async (): Promise<boolean> =>
            (await cluster.view(others)).some(
              ({ isMaster, failed, slots, port }) =>
                isMaster && !failed && port !== victim.node.port && has(slots, slotOf('{user0}')),
            )
          await until('the failover', hasMoved, 20_000)
          const decided = performance.now()
          await until('all is well again', () => tp.status().status === 'ok', 10_000)
          const count = seen.length
          await until('it stays well', () => seen.length > count + 500)
          await stop()
          await payments.complete(pay, decided + RECOVERY)

          const verdict = judge(`Cluster, a master ${name}`, seen, decided)
          expect(verdict.statuses['/closed']).toEqual([200, 503])
          payments.expectOnce()
          const onOthers = seen.filter(
            ({ path, subject, at }) =>
              KINDS[path]!.isAtSubject && living.includes(subject) && at > failed,
          )
          const bad = onOthers.filter((each) => !isWell(each)).length
          console.log(
            `the failover took ${(decided - failed).toFixed(0)} ms; on the other nodes ${onOthers.length} requests, ${bad} not well`,
          )
          // None, on a machine that has nothing else to do; with one breaker for all it would be most of them.
          expect(bad / onOthers.length, events.join(' ')).toBeLessThan(0.2)
          return verdict
        } finally {
          victim.node.thaw()
          await stop()
        }
      }),
  )
})

const has = (slots: readonly (readonly [number, number])[], slot: number): boolean =>
  slots.some(([first, last]) => first <= slot && slot <= last)
