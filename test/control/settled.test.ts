/** When a change is in force in all processes: twelve processes of their own, and lost messages. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { turnpike } from '../../src/node.ts'
import { startRedis } from '../../src/testing.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { until } from '../support/until.ts'

const worker = fileURLToPath(new URL('./heeder.mjs', import.meta.url))
const CHANNEL = 'tp:operations:rules!all'
const WHY = { by: 'ann', reason: 'a test' }
const PATIENT = { commandTimeout: '10s', requestBudget: '10s' } as const

test('a change is in force in twelve processes, with messages and without, and they confirm it', async () => {
  await using redis = await startRedis()
  const proxy = await startFaultProxy(redis.port)
  onTestFinished(() => proxy.close())
  const children = Array.from({ length: 12 }, (_, i) =>
    fork(worker, [proxy.url, '2s', i % 2 === 0 ? 'gate' : 'limit']),
  )
  onTestFinished(() => children.forEach((child) => child.kill('SIGKILL')))
  const ports = await Promise.all(
    children.map(async (child) => ((await once(child, 'message')) as [number])[0]),
  )
  const statuses = (): Promise<number[]> =>
    Promise.all(ports.map(async (port) => (await fetch(`http://127.0.0.1:${port}`)).status))
  const tp = turnpike({ redis: redis.url, ...PATIENT, operations: false })
  onTestFinished(() => tp.close())
  await until('all report', async () => (await tp.processes()).length === 12, 20_000)
  const all = { processes: 12, confirmed: 12, missing: [] }

  // The first rule is found by comparison where there is only a limit.
  const first = await tp.control.deny('203.0.113.1', WHY)
  expect(await tp.control.settled(first.version, { timeout: '30s' })).toMatchObject(all)

  const { version } = await tp.control.deny('127.0.0.1', WHY)
  const settled = await tp.control.settled(version, { timeout: '30s' })
  console.log(`in force in 12 of 12 processes after ${Math.round(settled.ms)} ms`)
  expect(settled).toMatchObject(all)
  expect(new Set(await statuses())).toEqual(new Set([403]))

  // The same length, so that replies stay whole: no subscriber knows the channel.
  const silenced = CHANNEL.replace('all', 'not')
  proxy.set({
    rewrite: (piece) =>
      Buffer.from(piece.toString('latin1').replaceAll(CHANNEL, silenced), 'latin1'),
  })
  const lifted = await tp.control.lift('127.0.0.1', WHY)
  const late = await tp.control.settled(lifted.version, { timeout: '30s' })
  console.log(`without messages after ${Math.round(late.ms)} ms of reports each 2 s`)
  expect(late).toMatchObject(all)
  expect(new Set(await statuses())).toEqual(new Set([200]))
}, 90_000)

test('a process that is silent is missing, and without processes there is nothing to wait for', async () => {
  await using redis = await startRedis()
  const proxy = await startFaultProxy(redis.port)
  onTestFinished(() => proxy.close())
  const tp = turnpike({ redis: redis.url, ...PATIENT, operations: false })
  onTestFinished(() => tp.close())
  const { version } = await tp.control.deny('203.0.113.1', WHY)
  expect(await tp.control.settled()).toMatchObject({ version, processes: 0, missing: [] })
  const other = turnpike({ redis: proxy.url, ...PATIENT, operations: { every: '1s' } })
  onTestFinished(() => other.close())
  other.gate()
  await until('it reports', async () => (await tp.processes()).length === 1)
  expect(await tp.control.settled(version)).toMatchObject({ processes: 1, confirmed: 1 })
  proxy.set({ mode: 'stall' })
  const changed = await tp.control.lift('203.0.113.1', WHY)
  const id = (await tp.processes())[0]?.id
  expect(await tp.control.settled(changed.version, { timeout: '100ms' })).toMatchObject({
    processes: 1,
    confirmed: 0,
    missing: [id],
  })
  proxy.heal()
  expect(await tp.control.settled(changed.version)).toMatchObject({ confirmed: 1, missing: [] })
  for (const [wrong, options] of [
    [7, {}],
    [version, { timeout: '1h' }],
    [version, { wait: '1s' }],
  ] as const)
    await expect(tp.control.settled(wrong as never, options as never)).rejects.toMatchObject({
      code: 'TP_OPTION',
    })
}, 60_000)

test('questions that strangers ask cost a process few commands', async () => {
  await using redis = await startRedis()
  const proxy = await startFaultProxy(redis.port)
  onTestFinished(() => proxy.close())
  const tp = turnpike({ redis: proxy.url, ...PATIENT, operations: false })
  onTestFinished(() => tp.close())
  tp.gate()
  await tp.control.deny('203.0.113.1', WHY)
  await until('messages come', async () => {
    await redis.send('PUBLISH', CHANNEL, '?')
    return (await redis.send('EXISTS', 'tp:operations:rules-held:{all}')).startsWith(':1')
  })
  proxy.forget()
  for (let i = 0; i < 500; i++) await redis.send('PUBLISH', CHANNEL, '?')
  expect(proxy.traffic.commands.length).toBeLessThan(250)
  expect((await redis.send('PTTL', 'tp:operations:rules-held:{all}')).slice(1)).toMatch(/^\d+/)
  expect(await tp.control.rules()).toHaveLength(1)
})
