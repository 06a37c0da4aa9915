/** What collections ask of a real Redis: trips, lost replies, other processes. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import {
  counters,
  leaderboard,
  list,
  recent,
  suggestions,
  trending,
} from '../../../src/collections.ts'
import { turnpike } from '../../../src/node.ts'
import type { RedisServer } from '../../../src/testing.ts'
import type { FaultProxy } from '../../support/fault-proxy.ts'
import { eachProxiedRedis } from '../../support/proxied-redis.ts'
import { until } from '../../support/until.ts'

const PATIENT = { commandTimeout: '10s', requestBudget: '10s' } as const
const WORKER = fileURLToPath(new URL('./adder.mjs', import.meta.url))

let redis: RedisServer
let proxy: FaultProxy
eachProxiedRedis((started) => ({ redis, proxy } = started))

/** An instance behind the proxy that knows Redis's clock. */
async function connected(options: object = PATIENT) {
  const tp = turnpike({ redis: proxy.url, ...options })
  onTestFinished(() => tp.close())
  await tp.ready()
  await until('the clock is known', () => proxy.traffic.commands.includes('TIME'))
  return tp
}

/** Every call of every collection that needs Redis. */
function callsOf(tp: Awaited<ReturnType<typeof connected>>): (() => Promise<unknown>)[] {
  const board = leaderboard(tp, 'creators')
  const large = leaderboard(tp, 'bytes', { scores: 'string', period: 'day' })
  const stats = counters(tp, 'campaign', { flush: 0 })
  const [tags, words] = [trending(tp, 'tags'), suggestions(tp, 'words')]
  const [searches, chat] = [recent(tp, 'searches'), list(tp, 'chat')]
  return [
    () => board.add('ann', 1),
    () => board.set('ann', 1),
    () => board.top(10),
    () => board.rank('ann'),
    () => board.around('ann', 2),
    () => board.remove('ann'),
    () => large.add('ann', 10n ** 20n),
    () => large.around('ann', 2),
    () => {
      stats.add('a', { clicks: 1 })
      return stats.flush()
    },
    () => tags.hit('a'),
    () => tags.top(5),
    () => tags.remove('a'),
    () => words.add('coffee'),
    () => words.complete('c', 5),
    () => words.remove('coffee'),
    () => searches.push('ann', 'a'),
    () => searches.list('ann'),
    () => searches.remove('ann', 'a'),
    () => searches.clear('ann'),
    () => chat.append('room', 'hello'),
    () => chat.last('room', 5),
    () => chat.clear('room'),
    () => stats.get('a'),
    () => stats.reset('a'),
  ]
}

test('each call costs one round trip', async () => {
  for (const call of callsOf(await connected())) {
    await call()
    proxy.forget()
    await call()
    expect(proxy.traffic, String(call)).toMatchObject({ roundTrips: 1, commands: ['EVALSHA'] })
  }
})

test.each(['freeze', 'kill'] as const)(
  'after a %s of Redis every call rejects with TP_UNAVAILABLE, and later each works',
  async (harm) => {
    const tp = await connected({})
    const calls = callsOf(tp)
    await calls[0]!()
    await redis[harm]()
    for (const call of calls) {
      const code = 'TP_UNAVAILABLE'
      await expect(call(), String(call)).rejects.toMatchObject({ code, status: 503 })
    }
    await (harm === 'kill' ? redis.restart() : redis.thaw())
    await until('Redis is back', () => tp.status().status === 'ok')
    for (const call of calls)
      await until(String(call), () =>
        call().then(
          () => true,
          () => false,
        ),
      )
  },
)

test('10,000 adds to 20 items are 20 commands, sent together', async () => {
  const tp = await connected()
  const stats = counters(tp, 'campaign', { flush: '1h' })
  stats.add('first', { clicks: 1 })
  await stats.flush()
  for (let i = 0; i < 10_000; i++) stats.add(i % 20, { clicks: 1 })
  proxy.forget()
  await stats.flush()
  expect(proxy.traffic.commands).toEqual(Array.from({ length: 20 }, () => 'EVALSHA'))
  expect(proxy.traffic.writes).toBe(1)
})

test('a write whose reply is lost is not counted twice', async () => {
  const tp = await connected({})
  const stats = counters(tp, 'campaign', { flush: '1h' })
  stats.add('a', { clicks: 1 })
  await stats.flush()
  stats.add('a', { clicks: 1 })
  proxy.set({ mode: 'stallDown' })
  await expect(stats.flush()).rejects.toMatchObject({ code: 'TP_UNAVAILABLE', uncertain: true })
  stats.add('a', { clicks: 1 })
  proxy.heal()
  await until('Redis is back', () => tp.status().status === 'ok')
  expect(await stats.get('a')).toEqual({ clicks: 3 })
  expect(await counters(turnpikeAt(redis.url), 'campaign').get('a')).toEqual({ clicks: 3 })
})

test('while Redis is frozen an add returns at once, and nothing is lost', async () => {
  const tp = await connected({})
  const stats = counters(tp, 'campaign', { flush: '50ms' })
  await stats.get('a')
  const kept = new Promise((resolve) => tp.on('unavailable', resolve))
  redis.freeze()
  for (let i = 0; i < 100; i++) stats.add('a', { clicks: 1 })
  expect(await kept).toMatchObject({ feature: 'counters', name: 'campaign', rule: 'keep' })
  await expect(leaderboard(tp, 'creators').top(1)).rejects.toMatchObject({ status: 503 })
  redis.thaw()
  const read = async () => (await stats.get('a').catch(() => ({ clicks: 0 })))['clicks'] === 100
  await until('all are counted', read)
  await stats.flush()
  expect(await stats.get('a')).toEqual({ clicks: 100 })
})

test('close writes what is left', async () => {
  const tp = turnpike({ redis: redis.url, ...PATIENT })
  await tp.ready()
  counters(tp, 'campaign', { flush: '1h' }).add('a', { clicks: 5 })
  await tp.close()
  expect(await counters(turnpikeAt(redis.url), 'campaign').get('a')).toEqual({ clicks: 5 })
})

function turnpikeAt(url: string) {
  const tp = turnpike({ redis: url, ...PATIENT })
  onTestFinished(() => tp.close())
  return tp
}

async function startAdders(count: number, adds: number, flush: number): Promise<ChildProcess[]> {
  const children = Array.from({ length: count }, () =>
    fork(WORKER, [redis.url, String(adds), String(flush)]),
  )
  onTestFinished(() => children.forEach((child) => child.kill('SIGKILL')))
  await Promise.all(children.map((child) => once(child, 'message')))
  return children
}

async function total(): Promise<number> {
  const stats = counters(turnpikeAt(redis.url), 'campaign')
  const all = await Promise.all(Array.from({ length: 10 }, (_, i) => stats.get(i)))
  return all.reduce((sum, counts) => sum + (counts['clicks'] ?? 0), 0)
}

test(
  '8 processes with 10,000 adds each: the sums are exact after close',
  { timeout: 60_000 },
  async () => {
    const children = await startAdders(8, 10_000, 20)
    const ends = children.map((child) => once(child, 'exit'))
    for (const child of children) child.send('go')
    for (const [code] of await Promise.all(ends)) expect(code).toBe(0)
    expect(await total()).toBe(80_000)
  },
)

test('a process that is killed loses at most what it added since its last write', async () => {
  const [child] = await startAdders(1, 10_000_000, 100)
  const progress: { at: number; added: number }[] = []
  child!.on('message', (added: number) => progress.push({ at: performance.now(), added }))
  child!.send('go')
  const ran = (): number => (progress.at(-1)?.at ?? 0) - (progress[0]?.at ?? 0)
  await until('it has run for 2 s', () => ran() > 2000)
  child!.kill('SIGKILL')
  await once(child!, 'exit')
  // Ten intervals: a loaded machine is slow.
  const due = progress.findLast(({ at }) => at < performance.now() - 1000)!
  const counted = await total()
  expect(due.added).toBeGreaterThan(0)
  expect(counted).toBeGreaterThanOrEqual(due.added)
  expect(await total()).toBe(counted)
})
