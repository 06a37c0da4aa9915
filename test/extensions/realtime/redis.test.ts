/** What channels ask of a real Redis: restarts, cut connections, strangers, other processes. */
import { fork } from 'node:child_process'
import { once, setMaxListeners } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { turnpike } from '../../../src/node.ts'
import { channels, presence, sse, type Channels } from '../../../src/realtime.ts'
import type { RedisServer } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'
import type { FaultProxy } from '../../support/fault-proxy.ts'
import { eachProxiedRedis } from '../../support/proxied-redis.ts'
import { until } from '../../support/until.ts'
import { openEvents } from './event-source.ts'

const PATIENT = { commandTimeout: '10s', requestBudget: '10s' } as const
const TOPIC = 'campaign'
const KEY = 'tp:realtime:topic:{campaign}'

let redis: RedisServer
let proxy: FaultProxy
eachProxiedRedis((started) => ({ redis, proxy } = started))

async function connected(options: object = PATIENT) {
  const tp = turnpike({ redis: proxy.url, logger: false, ...options })
  onTestFinished(() => tp.close())
  await tp.ready()
  return tp
}

/** Publishes 0, 1, 2, ... until it is stopped, and knows which were confirmed. */
function publishForEver(live: Channels, pause = 0) {
  const confirmed = new Set<number>()
  let count = 0
  let isRunning = true
  const done = (async () => {
    while (isRunning) {
      const n = count++
      await live.publish(TOPIC, n).then(
        () => confirmed.add(n),
        () => new Promise((resolve) => setTimeout(resolve, 5)),
      )
      if (pause > 0 || n % 5 === 0) await new Promise((resolve) => setTimeout(resolve, pause))
    }
  })()
  return {
    confirmed,
    async stop() {
      isRunning = false
      await done
    },
  }
}

/** Follows the topic, leaves after a while, and continues where it was. */
async function visit(live: Channels, seen: (number | 'gap')[], signal: AbortSignal, stay: number) {
  let after: string | undefined
  while (!signal.aborted) {
    let left = stay
    for await (const { id, data, gap } of live.subscribe<number>(TOPIC, { after, signal })) {
      after = id
      seen.push(gap ? 'gap' : data)
      if (--left === 0) break
    }
  }
}

/** Fails unless each confirmed message came once, in order, or a gap stands in its place. */
function expectNothingLost(seen: (number | 'gap')[], confirmed: Set<number>): void {
  let last: number | undefined
  let wasGap = false
  for (const each of seen) {
    if (each === 'gap') {
      wasGap = true
      continue
    }
    if (last !== undefined) {
      expect(each).toBeGreaterThan(last)
      if (!wasGap)
        for (let n = last + 1; n < each; n++)
          expect(confirmed.has(n), `${n} is missing between ${last} and ${each}`).toBe(false)
    }
    last = each
    wasGap = false
  }
}

test('50 subscribers come and go while a publisher never stops and Redis is restarted twice: each message once, in order, or a gap is told', async () => {
  const [publisher, ...readers] = await Promise.all([connected({}), connected({}), connected({})])
  const publishing = publishForEver(channels(publisher))
  const lives = readers.map((tp) => channels(tp))
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  const all = Array.from({ length: 50 }, (): (number | 'gap')[] => [])
  const visits = all.map((seen, i) =>
    visit(lives[i % 2]!, seen, controller.signal, i % 5 === 0 ? Infinity : 20 + i),
  )
  const numbers = (seen: (number | 'gap')[]): number => seen.filter((n) => n !== 'gap').length
  for (const goal of [100, 200, 300]) {
    const counts = all.map(numbers)
    await until(
      'everybody gets messages',
      () => all.every((seen, i) => numbers(seen) > counts[i]! + 40),
      15_000,
    )
    if (goal < 300) await redis.restart()
  }
  await publishing.stop()
  const last = Math.max(...publishing.confirmed)
  await until('everybody has the last one', () => all.every((seen) => seen.includes(last)), 15_000)
  controller.abort()
  await Promise.all(visits)
  for (const seen of all) {
    expectNothingLost(seen, publishing.confirmed)
    // The restarts lost the history.
    expect(seen.filter((each) => each === 'gap').length).toBeLessThan(10)
  }
  expect(all.some((seen) => seen.includes('gap'))).toBe(true)
}, 60_000)

test('connections are cut again and again: nothing is missing, and no gap is told', async () => {
  const [publisher, reader] = [await connected(), await connected()]
  const live = channels(reader)
  const seen: (number | 'gap')[] = []
  const controller = new AbortController()
  const subscription = live.subscribe<number>(TOPIC, { signal: controller.signal })
  await subscription.ready
  const visiting = (async () => {
    for await (const { data, gap } of subscription) seen.push(gap ? 'gap' : data)
  })()
  const publishing = publishForEver(channels(publisher))
  for (let cut = 0; cut < 5; cut++) {
    const { length } = seen
    await until('some arrive', () => seen.length > length + 20, 10_000)
    proxy.reset()
  }
  await publishing.stop()
  const last = Math.max(...publishing.confirmed)
  await until('the last has arrived', () => seen.includes(last), 10_000)
  controller.abort()
  await visiting
  expectNothingLost(seen, publishing.confirmed)
  expect(seen).not.toContain('gap')
})

test('while Redis hangs, publishing fails in time, and subscribers stay and catch up', async () => {
  const tp = await connected({ commandTimeout: 200 })
  const live = channels(tp)
  const other = channels(turnpikeAt(redis))
  const subscription = live.subscribe(TOPIC)
  await subscription.ready
  proxy.set({ mode: 'stall' })
  await expect(live.publish(TOPIC, 'lost')).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  await other.publish(TOPIC, 'meanwhile')
  proxy.heal()
  expect(await subscription.next()).toMatchObject({ value: { data: 'meanwhile', gap: false } })
})

function turnpikeAt({ url }: RedisServer) {
  const tp = turnpike({ redis: url, ...PATIENT })
  onTestFinished(() => tp.close())
  return tp
}

test('a subscription whose connection is dead without a word is replaced', async () => {
  const tp = await connected({ commandTimeout: 500 })
  const live = channels(tp)
  const subscription = live.subscribe(TOPIC)
  await subscription.ready
  proxy.strand()
  await channels(turnpikeAt(redis)).publish(TOPIC, 'behind the dead connection')
  expect(await subscription.next()).toMatchObject({ value: { gap: false } })
}, 30_000)

test('a publication costs one round trip, a thousand subscriptions one connection', async () => {
  const tp = await connected()
  const live = channels(tp)
  await live.publish(TOPIC, 0)
  await until('the clock is known', () => proxy.traffic.commands.includes('TIME'))
  proxy.forget()
  await live.publish(TOPIC, 1)
  expect(proxy.traffic).toMatchObject({ roundTrips: 1, commands: ['EVALSHA'] })
  const all = Array.from({ length: 1000 }, (_, i) => live.subscribe(`topic:${i % 100}`))
  await Promise.all(all.map(({ ready }) => ready))
  expect(await redis.send('PUBSUB', 'NUMSUB', 'tp:realtime:topic:{topic%3a7}')).toContain(':1\r\n')
  expect((await redis.send('CLIENT', 'LIST', 'TYPE', 'PUBSUB')).match(/^id=|\nid=/g)).toHaveLength(
    1,
  )
  await Promise.all(all.map((each) => each.return()))
  await until(
    'all channels are left',
    async () => (await redis.send('PUBSUB', 'CHANNELS', 'tp:realtime:*')) === '*0\r\n',
  )
})

test('a subscription costs one read, whatever the number of subscribers of its topic', async () => {
  const tp = await connected()
  const live = channels(tp)
  await live.subscribe(TOPIC).ready
  proxy.forget()
  await Promise.all(Array.from({ length: 50 }, () => live.subscribe(TOPIC).ready))
  expect(proxy.traffic.commands).toEqual([])
})

test('what strangers publish or write cannot end a subscription, and reaches nobody as a message', async () => {
  const tp = await connected()
  const live = channels(tp)
  const errors: unknown[] = []
  tp.on('error', (event) => errors.push(event))
  const subscription = live.subscribe(TOPIC)
  await subscription.ready
  const forged = [
    '',
    ' ',
    'x',
    '1-1 0-0 {"a":1}',
    '9999999999999-0 9-9 1',
    '  1',
    '1-1 0-0',
    '- - 1',
  ]
  for (const message of forged) await redis.send('PUBLISH', KEY, message)
  await live.publish(TOPIC, 'ours')
  await redis.send('XADD', KEY, '*', 'p', 'x', 'd', '{no json')
  await redis.send('XADD', KEY, '*', 'nothing', 'ours')
  await live.publish(TOPIC, 'ours again')
  const seen: unknown[] = []
  for await (const { data, gap } of subscription) {
    seen.push(gap ? 'gap' : data)
    if (data === 'ours again') break
  }
  expect(seen.filter((each) => each !== 'gap')).toEqual(['ours', 'ours again'])
  expect(errors.length).toBeGreaterThan(0)
})

test('a topic of another database with the same name is not heard', async () => {
  const [here, there] = [
    await connected(),
    await connected({ ...PATIENT, databases: { realtime: 3 } }),
  ]
  const [live, other] = [channels(here), channels(there)]
  const subscription = live.subscribe(TOPIC)
  await subscription.ready
  await other.publish(TOPIC, 'theirs')
  await live.publish(TOPIC, 'ours')
  await other.publish(TOPIC, 'theirs')
  await live.publish(TOPIC, 'ours too')
  expect(await subscription.next()).toMatchObject({ value: { data: 'ours' } })
  expect(await subscription.next()).toMatchObject({ value: { data: 'ours too' } })
})

test.each<[string, boolean, false | undefined]>([
  ['with a history ends the streams of those who were revoked meanwhile', false, undefined],
  ['without a history ends all streams', true, false],
])('a process that has lost its connection %s', async (_title, endsAll, history) => {
  const options = history === false ? { history } : {}
  let stream!: any
  const user = ({ headers }: any): string => headers['x-user']
  const app = apps[0]!.start({
    options: { redis: proxy.url, logger: false, ...PATIENT },
    mount: (tp) => [(stream = sse(channels(tp, options), { topics: () => 'a', user }))],
  })
  await app.tp.ready()
  const elsewhere = channels(turnpikeAt(redis), options)
  const other = sse(elsewhere, { topics: () => 'a', user })
  const open = (name: string) => openEvents(app.server, '/', { 'x-user': name })
  const [probe, ann, bob] = [await open('probe'), await open('ann'), await open('bob')]
  await until('it is told of ends', async () => {
    await other.end('probe')
    return probe.isOver
  })
  proxy.set({ mode: 'refuse' })
  proxy.reset()
  await other.end('ann')
  proxy.heal()
  await until('the revoked one is over', () => ann.isOver, 10_000)
  if (!endsAll)
    await until('the other goes on', async () => {
      await elsewhere.publish('a', 1)
      return bob.events.length > 0
    })
  else await until('so is the other', () => bob.isOver, 10_000)
  expect(stream.size).toBe(endsAll ? 0 : 1)
  await app.tp.close()
})

test('a process with 100 streams is killed: its user leaves, the places are free once the lease has ended, and the subscription is gone', async () => {
  const child = fork(fileURLToPath(new URL('./streams.mjs', import.meta.url)), [redis.url])
  onTestFinished(() => void child.kill('SIGKILL'))
  const [port] = (await once(child, 'message')) as [number]
  const clients = await Promise.all(Array.from({ length: 100 }, () => openEvents(port)))
  expect(clients.every(({ status }) => status === 200)).toBe(true)
  expect((await openEvents(port)).status).toBe(429)
  const live = channels(await connected())
  const users = presence(live, { ttl: '3s' })
  await until('the user is online', () => users.isOnline('ann'))
  users.connection('bob')
  const key = 'tp:realtime:streams:{ann}'
  expect(await redis.send('ZCARD', key)).toBe(':100\r\n')
  child.kill('SIGKILL')
  await until('the clients notice', () => clients.every(({ isOver }) => isOver))
  // Nothing renews them: the whole key goes with its last lease.
  const left = Number((await redis.send('PTTL', key)).slice(1))
  expect(left).toBeGreaterThan(0)
  expect(left).toBeLessThanOrEqual(60_000)
  await until(
    'the subscription is gone',
    async () => (await redis.send('CLIENT', 'LIST', 'TYPE', 'PUBSUB')) === '$0\r\n\r\n',
  )
  const changes = live.subscribe<{ type: string; users: string[] }>(users.topic, { after: '0-0' })
  for await (const { data } of changes)
    if (data?.type === 'left') {
      expect(data.users).toEqual(['ann'])
      break
    }
  expect(await users.isOnline('ann')).toBe(false)
  expect((await users.online()).users).toEqual(['bob'])
}, 30_000)
