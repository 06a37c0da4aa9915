/** Rules over a real Redis: trips, lost messages, outages, what a stranger writes. */
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { CONTEXT } from '../../src/extension.ts'
import { turnpike } from '../../src/node.ts'
import { RuleReplica } from '../../src/operations/control/rule-replica.ts'
import { RuleWriter } from '../../src/operations/control/rule-writer.ts'
import { testStore, type RedisServer } from '../../src/testing.ts'
import type { Store } from '../../src/store/store.ts'
import { apps } from '../support/apps.ts'
import type { FaultProxy } from '../support/fault-proxy.ts'
import { eachProxiedRedis } from '../support/proxied-redis.ts'
import { until } from '../support/until.ts'

let redis: RedisServer
let proxy: FaultProxy
eachProxiedRedis((started) => ({ redis, proxy } = started))

const KEY = 'tp:operations:rules:{all}'
const CHANNEL = 'tp:operations:rules!all'
const PATIENT = { commandTimeout: '10s', requestBudget: '10s', operations: false } as const
/** Soon told that Redis is away, although the machine is busy. */
const IMPATIENT = { commandTimeout: '1s', requestBudget: '1s', operations: false } as const
const WHY = { by: 'ann', reason: 'a test' }

function open(url: string, options: object = PATIENT) {
  const tp = turnpike({ redis: url, ...options })
  onTestFinished(() => tp.close())
  return tp
}

/** A process that holds the rules, without HTTP and with no comparison but those that it is told to make. */
async function replicaOf(url: string, options: object = PATIENT) {
  const tp = open(url, options)
  const [events, warnings]: [object[], string[]] = [[], []]
  tp.on('unavailable', (event) => events.push(event))
  tp.on('warning', ({ message }) => warnings.push(message))
  const replica = new RuleReplica(tp[CONTEXT]('operations'), 'test')
  replica.subscribe()
  replica.catchUp()
  await tp.ready('5s')
  await replica.refresh()
  return { tp, replica, events, warnings }
}

test('a change is one command, one that is announced another, and a comparison a third', async () => {
  const writer = open(redis.url)
  await writer.control.deny('203.0.113.1', WHY)
  const { tp, replica } = await replicaOf(proxy.url)
  await until('the first rule is read', () => replica.table.size === 1)
  // The subscription is confirmed when a message has come.
  await until('messages come', async () => {
    await writer.control.deny('203.0.113.2', WHY)
    return replica.table.size === 2
  })
  // It has found the first rule by comparison, and confirms that once.
  const held = 'tp:operations:rules-held:{all}'
  await until('it has confirmed', async () => (await redis.send('EXISTS', held)).startsWith(':1'))
  await replica.refresh()
  proxy.forget()
  await writer.control.deny('203.0.113.3', WHY)
  await until('its message has come', () => replica.table.size === 3)
  expect(proxy.traffic).toMatchObject({ roundTrips: 1, commands: ['HMGET'] })
  proxy.forget()
  await replica.refresh()
  expect(proxy.traffic).toMatchObject({ roundTrips: 1, commands: ['EVALSHA'] })
  const entry = { action: 'deny', by: 'ann', reason: 'x', subject: 's' }
  proxy.forget()
  await new RuleWriter(tp[CONTEXT]('operations'), replica).write(
    's:ann',
    '{"effect":"deny"}',
    0,
    entry,
  )
  await new RuleWriter(tp[CONTEXT]('operations'), replica).write(
    's:bob',
    '{"effect":"deny"}',
    0,
    entry,
  )
  expect(proxy.traffic.commands).toEqual(['EVALSHA', 'EVALSHA'])
})

test('a process without a gate opens no connection until there is a rule, and then heeds it', async () => {
  const app = apps[0]!.start({
    options: { redis: proxy.url, ...PATIENT, operations: { every: '1s' } },
    mount: (tp) => [tp.rateLimit({ limit: 1000, window: '1h' })],
  })
  onTestFinished(() => app.tp.close())
  const requests = async (): Promise<number> => (await app.get()).status
  // Reports and comparisons are all that it sends.
  await until(
    'it has compared',
    () => proxy.traffic.commands.filter((name) => name === 'EVALSHA').length > 3,
  )
  expect(proxy.traffic.commands).not.toContain('SUBSCRIBE')
  expect(proxy.traffic.commands).not.toContain('HGETALL')
  const writer = open(redis.url)
  await writer.control.deny('127.0.0.1', WHY)
  await until('the rule is in force', async () => (await requests()) === 403)
  await until('it is subscribed', () => proxy.traffic.commands.includes('SUBSCRIBE'))
})

test('a rule comes to twelve instances', async () => {
  const others = await Promise.all(Array.from({ length: 12 }, () => replicaOf(redis.url)))
  const writer = open(redis.url)
  await writer.control.deny('203.0.113.0/24', WHY)
  await until('all have it', () =>
    others.every(({ replica }) => replica.table.effectOn('203.0.113.7') === 'deny'),
  )
  await writer.control.lift('203.0.113.0/24', WHY)
  await until('none has it', () => others.every(({ replica }) => replica.table.size === 0))
})

test('without a message a rule is found by comparison', async () => {
  // The same length, so that the reply stays whole: the subscriber does not know the channel.
  const silenced = CHANNEL.replace('all', 'not')
  proxy.set({
    rewrite: (piece) =>
      Buffer.from(piece.toString('latin1').replaceAll(CHANNEL, silenced), 'latin1'),
  })
  const app = apps[0]!.start({
    options: { redis: proxy.url, ...PATIENT, operations: { every: '1s' } },
    mount: (tp) => [tp.gate()],
  })
  onTestFinished(() => app.tp.close())
  await app.tp.control.refresh()
  await open(redis.url).control.deny('127.0.0.1', WHY)
  await until('it is in force', async () => (await app.get()).status === 403)
})

test('while Redis is away the last rules stay, one event tells of it, and all are read again later', async () => {
  const writer = open(redis.url)
  await writer.control.deny('203.0.113.1', WHY)
  const { tp, replica, events } = await replicaOf(proxy.url, IMPATIENT)
  proxy.set({ mode: 'refuse' })
  proxy.reset()
  replica.catchUp()
  await until('it is told', () => events.length > 0)
  await writer.control.deny('203.0.113.2', WHY)
  expect(replica.table.effectOn('203.0.113.1')).toBe('deny')
  await expect(tp.control.lift('203.0.113.1', WHY)).rejects.toMatchObject({
    code: 'TP_UNAVAILABLE',
  })
  expect(replica.table.effectOn('203.0.113.1')).toBe('deny')
  proxy.heal()
  await until('they are read again', () => replica.table.effectOn('203.0.113.2') === 'deny')
  expect(events.filter((event: any) => event.name === 'rules')[0]).toMatchObject({
    feature: 'operations',
    rule: 'keep',
  })
})

test('a change whose reply is lost is found by the next comparison', async () => {
  const { tp, replica } = await replicaOf(proxy.url, IMPATIENT)
  const entry = { action: 'deny', by: 'ann', reason: 'x', subject: 's' }
  // Redis knows the script then, and runs it although its reply is held back.
  await new RuleWriter(tp[CONTEXT]('operations'), replica).write(
    's:bob',
    '{"effect":"deny"}',
    0,
    entry,
  )
  proxy.set({ mode: 'stallDown' })
  await expect(
    new RuleWriter(tp[CONTEXT]('operations'), replica).write(
      's:ann',
      '{"effect":"deny"}',
      0,
      entry,
    ),
  ).rejects.toMatchObject({
    uncertain: true,
  })
  proxy.heal()
  await until('it is found', () => replica.table.effectOn('', 'ann') === 'deny')
})

test('who may only publish changes no rule', async () => {
  const { replica, warnings } = await replicaOf(proxy.url)
  await open(redis.url).control.deny('203.0.113.1', WHY)
  await until('it has come', () => replica.table.size === 1)
  const { version } = replica
  for (const message of [
    '',
    '9.z',
    `9.z a:203.0.113.1\n${version}`,
    `9.z s:ann\n${version}\n0 0 {"effect":"allow"}`,
    `${version}\n`,
    `9.z !\n${version}`,
    `${version} \n${version}`,
    '\u0000\n\n\n\n',
    'x'.repeat(10_000),
  ])
    await redis.send('PUBLISH', CHANNEL, message)
  proxy.forget()
  await Promise.all(
    Array.from({ length: 300 }, () => redis.send('PUBLISH', CHANNEL, `9.z s:ann\n${version}`)),
  )
  await replica.refresh()
  await until('all is read', () => replica.version === version)
  expect([replica.table.size, replica.table.effectOn('203.0.113.1')]).toEqual([1, 'deny'])
  expect(proxy.traffic.commands.length).toBeLessThan(300)
  expect(warnings).toEqual([])
})

test('what a stranger stores among the rules leaves the others in force', async () => {
  const { tp, replica, warnings } = await replicaOf(redis.url)
  await tp.control.deny('203.0.113.1', WHY)
  for (const [field, value] of [
    ['a:10.0.0.1/8', '1 0 {"effect":"deny"}'],
    ['a:10.0.0.1', '1 0 {"effect":"other"}'],
    ['a:10.0.0.2', 'x'],
    ['a:10.0.0.3', '1 0 null'],
    ['__proto__', '1 0 {"effect":"deny"}'],
    ['s:', '1 0 {"effect":"deny"}'],
    ['!', '7.forged'],
  ])
    await redis.send('HSET', KEY, field!, value!)
  await replica.refresh()
  expect(replica.version).toBe('7.forged')
  expect([replica.table.size, replica.table.effectOn('203.0.113.1')]).toEqual([1, 'deny'])
  expect(warnings).toEqual([expect.stringContaining('some stored rules cannot be read')])
  expect(await tp.control.rules()).toHaveLength(1)
  await tp.control.lift('203.0.113.1', WHY)
  expect(await tp.control.rules()).toEqual([])
})

test('a key of another type is one warning, and no outage', async () => {
  await redis.send('RPUSH', KEY, 'x')
  await redis.send('PEXPIRE', KEY, '60000')
  const app = apps[0]!.start({
    options: { redis: redis.url, ...PATIENT },
    mount: (tp) => [tp.gate()],
  })
  onTestFinished(() => app.tp.close())
  await until('it is reported', () => app.warnings.length > 0)
  expect(app.warnings).toEqual([expect.stringContaining('cannot read the rules')])
  expect((await app.get()).status).toBe(200)
  await expect(app.tp.control.deny('203.0.113.1', WHY)).rejects.toMatchObject({
    code: 'TP_COMMAND',
  })
  expect(app.tp.status().status).toBe('ok')
})

test('a process that starts reads ten thousand rules', async () => {
  const fields = Array.from({ length: 10_000 }, (_, i) => [
    `a:10.${i >> 8}.${i & 255}.0/24`,
    `1 0 ${JSON.stringify({ effect: 'deny', ...WHY, reason: 'x'.repeat(200) })}`,
  ])
  for (let i = 0; i < fields.length; i += 500)
    await redis.send('HSET', KEY, ...fields.slice(i, i + 500).flat())
  await redis.send('HSET', KEY, '!', '10000.x')
  await redis.send('PEXPIRE', KEY, '600000')
  const { replica } = await replicaOf(redis.url)
  await until('all are read', () => replica.table.size === 10_000)
  expect(replica.table.effectOn('10.39.15.1')).toBe('deny')
})

test('many rules are read in pages, and a rule that is lifted meanwhile is not held', async () => {
  const fields = Array.from({ length: 3_000 }, (_, i) => [
    `a:10.${i >> 8}.${i & 255}.0/24`,
    `1 0 ${JSON.stringify({ effect: 'deny', ...WHY })}`,
  ])
  for (let i = 0; i < fields.length; i += 500)
    await redis.send('HSET', KEY, ...fields.slice(i, i + 500).flat())
  await redis.send('HSET', KEY, '!', '3000.x')
  await redis.send('PEXPIRE', KEY, '600000')
  const tp = open(redis.url)
  const { closing, events, keys, name, onClose, store } = tp[CONTEXT]('operations')
  const pages: number[] = []
  const run = async (operation: any, given: string[], args: string[]): Promise<unknown> => {
    const reply: any = await store.run(operation, given, args)
    if (operation.name !== 'operations.rules') return reply
    const [, page] = reply as [string, string[]]
    // It is lifted after its page was read.
    if (pages.push(page.length / 2) === 1) {
      const lifted = page.find((each) => each.startsWith('a:'))!
      await redis.send('HDEL', KEY, lifted)
      await redis.send('HSET', KEY, '!', `3001.y ${lifted}`)
    }
    return reply
  }
  const own = { run, now: () => store.now(), subscribe: () => () => {} } as never
  const replica = new RuleReplica({ closing, events, keys, name, onClose, store: own }, 'test')
  await replica.refresh()
  expect([replica.table.size, replica.version.split(' ')[0]]).toEqual([2_999, '3001.y'])
  // The first attempt is repeated. A page has some 500 rules.
  expect(pages.length).toBeGreaterThan(8)
  expect(Math.max(...pages)).toBeLessThan(1_000)
})

test('the time to live of the rules begins again when half of it is over', async () => {
  const { tp, replica } = await replicaOf(redis.url)
  await tp.control.deny('203.0.113.1', WHY)
  const full = 400 * 86_400_000
  const left = async (): Promise<number> => Number((await redis.send('PTTL', KEY)).slice(1))
  expect(await left()).toBeGreaterThan(full - 60_000)
  await redis.send('PEXPIRE', KEY, String(full * 0.6))
  await replica.refresh()
  expect(await left()).toBeLessThanOrEqual(full * 0.6)
  await redis.send('PEXPIRE', KEY, String(full * 0.4))
  await replica.refresh()
  expect(await left()).toBeGreaterThan(full - 60_000)
})

test('rules that Redis has lost are lifted everywhere', async () => {
  const { tp, replica } = await replicaOf(redis.url)
  await tp.control.deny('203.0.113.1', WHY)
  await replica.refresh()
  await redis.send('FLUSHALL')
  await replica.refresh()
  expect([replica.table.size, replica.version]).toEqual([0, ''])
})

test('with operations: false and no gate there is neither a command nor a subscription for rules', async () => {
  const tp = open(proxy.url)
  tp.rateLimit({ limit: 1, window: '1m' })
  await tp.ready('5s')
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(proxy.traffic.commands.filter((name) => /EVAL|SUBSCRIBE|HGET/.test(name))).toEqual([])
})

test('after close nothing is asked any more', async () => {
  const tp = open(proxy.url)
  tp.gate()
  await tp.control.refresh()
  await tp.close()
  proxy.forget()
  await expect(tp.control.refresh()).rejects.toMatchObject({ reason: 'closed' })
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(proxy.traffic.commands).toEqual([])
})

/** The same store, as a process sees it whose messages a test delivers by hand. */
function heldBack(store: Store, held: (() => void)[]): Store {
  return new Proxy(store, {
    get(target, name) {
      if (name === 'subscribe')
        return (channel: string, listener: (message: string) => void) =>
          target.subscribe(channel, (message) => void held.push(() => listener(message)))
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

test.each(['in order', 'in reverse', 'twice', 'every other one', 'shuffled and doubled'])(
  'messages that arrive %s end in the state of the store',
  async (how) => {
    const store = testStore()
    const writer = turnpike({ store })
    const held: (() => void)[] = []
    const reader = turnpike({ store: heldBack(store, held) })
    onTestFinished(async () => void (await Promise.all([writer.close(), reader.close()])))
    const replica = new RuleReplica(reader[CONTEXT]('operations'), 'test')
    replica.subscribe()
    await replica.refresh()
    const target = (i: number): string => `10.0.0.${i % 7}`
    for (let i = 0; i < 40; i++) {
      if (i % 3 === 2) await writer.control.lift(target(i), WHY)
      else await writer.control[i % 2 === 0 ? 'deny' : 'allow'](target(i), WHY)
    }
    const all = held.splice(0)
    const arriving = {
      'in order': all,
      'in reverse': all.toReversed(),
      twice: all.flatMap((each) => [each, each]),
      'every other one': all.filter((_, i) => i % 2 === 1),
      'shuffled and doubled': [...all, ...all].toSorted(() => Math.random() - 0.5),
    }[how]!
    for (const deliver of arriving) {
      deliver()
      if (Math.random() < 0.3) await new Promise((resolve) => setImmediate(resolve))
    }
    // The last message may be one that is lost: then the comparison finds out.
    if (how === 'every other one') await replica.refresh()
    const stored = await replica.list()
    await until('the state is that of the store', () => {
      const held = Array.from({ length: 7 }, (_, i) => replica.table.effectOn(target(i)))
      const wanted = Array.from({ length: 7 }, (_, i) => stored.get(`a:${target(i)}`)?.effect)
      return JSON.stringify(held) === JSON.stringify(wanted)
    })
    expect(replica.table.size).toBe(stored.size)
  },
)

test('a process that starts while Redis is away heeds the rules of its snapshot, until Redis is back', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'rules-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const snapshot = join(folder, 'rules.json')
  const options = { ...IMPATIENT, operations: { every: '1s', snapshot } } as const
  const writer = open(redis.url)
  const first = open(redis.url, options)
  first.gate()
  await writer.control.deny('127.0.0.1', { ...WHY, for: '1h' })
  await writer.control.deny('203.0.113.1', WHY)
  const stored = (): string => (existsSync(snapshot) ? readFileSync(snapshot, 'utf8') : '')
  await until('the file has both', () =>
    ['127.0', '203.0'].every((each) => stored().includes(each)),
  )
  expect(statSync(snapshot).mode & 0o777).toBe(0o600)
  await writer.control.lift('203.0.113.1', WHY)
  await until('the file has one', () => !stored().includes('203.0'))
  expect(readdirSync(folder)).toEqual(['rules.json'])
  await first.close()

  proxy.set({ mode: 'refuse' })
  const app = apps[0]!.start({
    options: { redis: proxy.url, ...options },
    mount: (tp) => [tp.gate()],
  })
  onTestFinished(() => app.tp.close())
  await until('the rule is in force', async () => (await app.get()).status === 403)
  await redis.send('DEL', KEY)
  proxy.heal()
  await until('Redis decides again', async () => (await app.get()).status === 200)
  expect(app.warnings).toEqual([])
})

test.each(['{', '[]', '{"rules":7}', '{"rules":{"a:127.0.0.1":7,"x":"y"}}', ''])(
  'the snapshot %j is no rule and no outage',
  async (text) => {
    const folder = mkdtempSync(join(tmpdir(), 'rules-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const snapshot = join(folder, 'rules.json')
    writeFileSync(snapshot, text)
    const app = apps[0]!.start({
      options: { redis: redis.url, ...PATIENT, operations: { every: '1s', snapshot } },
      mount: (tp) => [tp.gate()],
    })
    onTestFinished(() => app.tp.close())
    await app.tp.control.deny('203.0.113.1', WHY)
    expect((await app.get()).status).toBe(200)
    await until('it is replaced', () => readFileSync(snapshot, 'utf8').includes('203.0.113.1'))
  },
)
