/** Replicated documents over a real Redis: trips, lost messages, outages, what a stranger writes. */
import { expect, onTestFinished, test } from 'vitest'
import {
  ReplicatedDocument,
  type DocumentOptions,
} from '../../src/documents/replicated-document.ts'
import { extension } from '../../src/extension.ts'
import { turnpike } from '../../src/node.ts'
import type { RedisServer } from '../../src/testing.ts'
import type { FaultProxy } from '../support/fault-proxy.ts'
import { eachProxiedRedis } from '../support/proxied-redis.ts'
import { until } from '../support/until.ts'

type Settings = Readonly<Record<string, number>>

let redis: RedisServer
let proxy: FaultProxy
eachProxiedRedis((started) => ({ redis, proxy } = started))

const KEY = 'tp:settings:document:{main}'
const CHANNEL = 'tp:settings:document!main'
const PATIENT = { commandTimeout: '10s', requestBudget: '10s', operations: false } as const
const put = (name: string, value: number) => (all: Settings) => ({ ...all, [name]: value })

async function started(
  url: string,
  documentOptions: Partial<DocumentOptions<Settings>> = {},
  options: object = PATIENT,
) {
  const tp = turnpike({ redis: url, ...options })
  onTestFinished(() => tp.close())
  const events: object[] = []
  for (const name of ['unavailable', 'error'] as const) tp.on(name, (event) => events.push(event))
  const document = extension(
    tp,
    'settings',
    (context) =>
      new ReplicatedDocument<Settings>(context, {
        name: 'main',
        where: 'settings()',
        initial: {},
        parse(json) {
          if (typeof json !== 'object' || json === null) throw new TypeError('no settings')
          return json as Settings
        },
        refreshMs: 600_000,
        ...documentOptions,
      }),
  )
  await until('it was read', () => document.isRead)
  return { tp, document, events }
}

test('a change costs one round trip, and so does a comparison', async () => {
  const { document } = await started(proxy.url)
  const other = await started(redis.url)
  const update = async (value: number): Promise<void> => {
    await document.update(put('x', value), '')
    await until('its message has come', () => other.document.value['x'] === value)
  }
  await update(1)
  proxy.forget()
  await update(2)
  expect(proxy.traffic).toMatchObject({ roundTrips: 1, commands: ['EVALSHA'] })
  proxy.forget()
  await document.refresh()
  expect(proxy.traffic).toMatchObject({ roundTrips: 1, commands: ['EVALSHA'] })
  proxy.forget()
  await document.changes(10)
  expect(proxy.traffic).toMatchObject({ roundTrips: 1, commands: ['LRANGE'] })
})

test('without a message a change is seen within the interval', async () => {
  const [writer, reader] = [await started(redis.url), await started(proxy.url, { refreshMs: 500 })]
  // The same length, so that the reply stays whole: the subscriber does not know the channel.
  const silenced = CHANNEL.replace('main', 'lost')
  proxy.set({
    rewrite: (piece) =>
      Buffer.from(piece.toString('latin1').replaceAll(CHANNEL, silenced), 'latin1'),
  })
  await writer.document.update(put('x', 1), '')
  await until('it is seen', () => reader.document.value['x'] === 1)
})

test('while Redis is away the last value stays, one event tells of it, and all is read again later', async () => {
  const writer = await started(redis.url)
  await writer.document.update(put('x', 1), '')
  const { document, events } = await started(proxy.url, { refreshMs: 50 }, { operations: false })
  expect(document.value).toEqual({ x: 1 })
  proxy.set({ mode: 'refuse' })
  proxy.reset()
  await until('it is told', () => events.length > 0)
  await writer.document.update(put('x', 2), '')
  expect(document.value).toEqual({ x: 1 })
  await expect(document.update(put('y', 1), '')).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  await expect(document.changes(1)).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  proxy.heal()
  await until('it is read again', () => document.value['x'] === 2)
  expect(events).toEqual([
    expect.objectContaining({ feature: 'settings', name: 'main', rule: 'keep' }),
  ])
})

test('what was announced while the subscription was broken is read when it is back', async () => {
  const [writer, reader] = [await started(redis.url), await started(proxy.url)]
  proxy.set({ mode: 'refuse' })
  proxy.reset()
  await writer.document.update(put('x', 1), '')
  proxy.heal()
  await until('it is read', () => reader.document.value['x'] === 1)
})

test('a write whose reply is lost is found by the next read', async () => {
  const { document } = await started(proxy.url, {}, { operations: false })
  await document.update(put('x', 1), '')
  proxy.set({ mode: 'stallDown' })
  await expect(document.update(put('x', 2), '')).rejects.toMatchObject({ uncertain: true })
  proxy.heal()
  await until('it is found', () => document.value['x'] === 2)
})

test.each([
  ['no document', 'hello'],
  ['a version without content', '1.a'],
  ['a version that is too long', `${'9'.repeat(100)}.a {}`],
  ['no JSON', '7.a {"x":'],
  ['other JSON', '7.a null'],
])('%s in its place leaves the process running, and is overwritten', async (_what, stored) => {
  const { document, tp } = await started(proxy.url)
  await document.update(put('x', 1), '')
  await redis.send('SET', KEY, stored, 'PX', '60000')
  await document.refresh()
  expect([{}, { x: 1 }]).toContainEqual(document.value)
  await document.update(put('y', 2), '')
  const other = await started(redis.url)
  expect(other.document.value).toMatchObject({ y: 2 })
  expect(tp.status().status).toBe('ok')
})

test('a value of another type is an error, and no outage', async () => {
  await redis.send('RPUSH', KEY, 'x')
  await redis.send('PEXPIRE', KEY, '60000')
  const tp = turnpike({ redis: redis.url, ...PATIENT })
  onTestFinished(() => tp.close())
  const errors: { error: unknown }[] = []
  tp.on('error', (event) => errors.push(event))
  const document = extension(
    tp,
    'settings',
    (context) =>
      new ReplicatedDocument<Settings>(context, {
        name: 'main',
        where: 'settings()',
        initial: {},
        parse: () => ({}),
        refreshMs: 600_000,
      }),
  )
  await expect(document.update(put('x', 1), '')).rejects.toMatchObject({ code: 'TP_COMMAND' })
  await until('it is reported', () => errors.length > 0)
  expect(errors[0]!.error).toMatchObject({ code: 'TP_COMMAND' })
  expect(tp.status().status).toBe('ok')
})

test('a flood of forged messages costs one read at a time, and changes nothing', async () => {
  const { document } = await started(proxy.url)
  await document.update(put('x', 1), '')
  for (const message of ['', '9.z', '{}', '\u0000', 'x'.repeat(10_000)])
    await redis.send('PUBLISH', CHANNEL, message)
  proxy.forget()
  await Promise.all(Array.from({ length: 300 }, () => redis.send('PUBLISH', CHANNEL, '9.z')))
  await document.refresh()
  expect(document.value).toEqual({ x: 1 })
  expect(proxy.traffic.commands.length).toBeLessThan(300)
})

test('its time to live begins again when half of it is over', async () => {
  const { document } = await started(redis.url)
  await document.update(put('x', 1), '')
  const year = 365 * 86_400_000
  const left = async (): Promise<number> => Number((await redis.send('PTTL', KEY)).slice(1))
  expect(await left()).toBeGreaterThan(year - 60_000)
  await redis.send('PEXPIRE', KEY, String(year * 0.6))
  await document.refresh()
  expect(await left()).toBeLessThanOrEqual(year * 0.6)
  await redis.send('PEXPIRE', KEY, String(year * 0.4))
  await document.refresh()
  expect(await left()).toBeGreaterThan(year - 60_000)
})

test('after close it asks no more', async () => {
  const { document, tp } = await started(proxy.url, { refreshMs: 20 })
  await tp.close()
  proxy.forget()
  await expect(document.refresh()).rejects.toMatchObject({ reason: 'closed' })
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(proxy.traffic.commands).toEqual([])
})
