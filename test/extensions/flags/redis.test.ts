/** Flags over a real Redis: trips, messages, other processes. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import express from 'express'
import request from 'supertest'
import { expect, onTestFinished, test } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import { flags } from '../../../src/flags.ts'
import type { RedisServer } from '../../../src/testing.ts'
import type { FaultProxy } from '../../support/fault-proxy.ts'
import { eachProxiedRedis } from '../../support/proxied-redis.ts'
import { timed, until } from '../../support/until.ts'

const PATIENT = { commandTimeout: '10s', requestBudget: '10s', operations: false } as const
const DEFAULTS = { a: false, b: false }

let redis: RedisServer
let proxy: FaultProxy
eachProxiedRedis((started) => ({ redis, proxy } = started))

async function started(url: string, refresh: '10m' | '500ms' = '10m') {
  const tp = turnpike({ redis: url, ...PATIENT })
  onTestFinished(() => tp.close())
  await tp.ready()
  const feature = flags(tp, { defaults: DEFAULTS, refresh })
  await feature.refresh()
  return { tp, feature }
}

test('requests cost no round trip, and a change costs one', async () => {
  const { feature } = await started(proxy.url)
  await feature.set('a', { percentage: 50 })
  const app = express().use(feature)
  app.get('/:user', (req, res) => {
    res.json([req.flags.all(), feature.enabled('a', { user: req.params.user })])
  })
  await request(app).get('/ann').expect(200)
  await until('it is quiet', async () => {
    proxy.forget()
    await new Promise((resolve) => setTimeout(resolve, 50))
    return proxy.traffic.commands.length === 0
  })
  for (const user of ['ann', 'bob', 'cat']) await request(app).get(`/${user}`).expect(200)
  expect(proxy.traffic.commands).toEqual([])
  await feature.set('b', true)
  expect(proxy.traffic).toMatchObject({ commands: ['EVALSHA'], roundTrips: 1 })
  proxy.forget()
  await feature.audit()
  expect(proxy.traffic).toMatchObject({ commands: ['LRANGE'], roundTrips: 1 })
})

test('a change is seen by 5 other processes within 100 ms, by message', async () => {
  const [first, ...others] = await Promise.all(Array.from({ length: 6 }, () => started(redis.url)))
  // Until every subscription is confirmed, a change may be seen for another reason.
  await first!.feature.set('b', true)
  await until('messages arrive', () => others.every(({ feature }) => feature.enabled('b')))
  const seen: number[] = []
  for (let i = 0; i < 20; i++) {
    const isOn = i % 2 === 0
    await first!.feature.set('a', isOn)
    const all = (): boolean => others.every(({ feature }) => feature.enabled('a') === isOn)
    seen.push((await timed(until('it is seen', all))).ms)
  }
  // The median: this is about messages, not about a machine that stands still for a moment.
  expect(seen.sort((a, b) => a - b)[10]).toBeLessThan(100)
})

test('without a message a change is seen within `refresh`', async () => {
  const [writer, reader] = [await started(redis.url), await started(proxy.url, '500ms')]
  const channel = 'tp:flags:document!flags-default'
  const silenced = channel.replace('!flags', '!slugs')
  proxy.set({
    rewrite: (piece) =>
      Buffer.from(piece.toString('latin1').replaceAll(channel, silenced), 'latin1'),
  })
  await writer.feature.set('a', true)
  const { ms } = await timed(until('it is seen', () => reader.feature.enabled('a')))
  expect(ms).toBeLessThan(1000)
})

test('while Redis is frozen requests have the last rules at once', async () => {
  const { feature } = await started(redis.url)
  await feature.set('a', true)
  redis.freeze()
  const app = express().use(feature)
  app.get('/', (req, res) => void res.json(req.flags.enabled('a')))
  const { body } = await request(app).get('/').expect(200)
  expect(body).toBe(true)
})

test('a new process takes over what was stored before a restart of all', async () => {
  const before = await started(redis.url)
  await before.feature.set('a', { users: ['ann'] })
  await before.tp.close()
  const { feature } = await started(redis.url)
  expect(feature.enabled('a', { user: 'ann' })).toBe(true)
  expect(feature.enabled('a', { user: 'bob' })).toBe(false)
})

const SWITCHER = fileURLToPath(new URL('./switcher.mjs', import.meta.url))
let calls = 0

/** Has a process do something, and returns its answer. */
async function tell(child: ChildProcess, method: string, ...args: unknown[]): Promise<any> {
  const id = ++calls
  const answered = new Promise((resolve, reject) => {
    const onMessage = ([to, answer]: [number, unknown]): void => {
      if (to !== id) return
      child.off('message', onMessage)
      resolve(answer)
    }
    child.on('message', onMessage)
    child.once('exit', () => reject(new Error('The process has ended.')))
  })
  child.send([id, method, ...args])
  return await answered
}

async function forked(count: number): Promise<ChildProcess[]> {
  const children = Array.from({ length: count }, () => fork(SWITCHER, [redis.url]))
  onTestFinished(() => children.forEach((child) => child.kill('SIGKILL')))
  await Promise.all(children.map((child) => once(child, 'message')))
  return children
}

test('changes by several processes at once are all kept, and all processes agree on them', async () => {
  const children = await forked(4)
  const states = () => Promise.all(children.map((child) => tell(child, 'state')))
  const agree = (check: (state: any) => boolean) => async () => (await states()).every(check)
  const [first, second, third, fourth] = children as [ChildProcess, ...ChildProcess[]]
  await Promise.all([
    tell(first, 'set', 'a', { percentage: 30 }),
    tell(second!, 'set', 'b', { value: 7 }),
    tell(third!, 'close', 'ann'),
    tell(fourth!, 'reload'),
  ])
  await until(
    'all have all changes',
    agree(({ a, b, isClosed, loads }) => a.includes(true) && b === 7 && isClosed && loads > 1),
  )
  const [one, ...others] = await states()
  // The same users are in, whoever asks.
  for (const other of others) expect(other.a).toEqual(one.a)
  // Killed: what it has changed stays, also for a process that is started later.
  first.kill('SIGKILL')
  await once(first, 'exit')
  const [late] = await forked(1)
  expect(await tell(late!, 'state')).toMatchObject({ a: one.a, b: 7, isClosed: true })
})
