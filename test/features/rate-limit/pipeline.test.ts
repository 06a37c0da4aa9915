import calculateSlot from 'cluster-key-slot'
import { describe, expect, test, vi } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import type { OperationArgument, Operation, OperationReply } from '../../../src/store/store.ts'
import { testStore } from '../../../src/testing.ts'
import { TestStore } from '../../../src/testing/test-store.ts'
import { apps } from '../../support/apps.ts'

describe.each(apps)('a pipeline of limits: $name', ({ start }) => {
  test('issues the commands of all its members in one tick', async () => {
    const store = testStore()
    const ticks: number[] = []
    let tick = 0
    const run = store.run.bind(store)
    vi.spyOn(store, 'run').mockImplementation((...args) => {
      ticks.push(tick)
      process.nextTick(() => tick++)
      return run(...args)
    })
    const app = start({
      options: { store },
      mount: (tp) => [
        tp.pipeline(
          tp.rateLimit({ name: 'one', limit: 5, window: '1m' }),
          tp.rateLimit({ name: 'two', limit: 5, window: '1h' }),
          tp.rateLimit({ name: 'three', limit: 5, window: '1d', key: tp.key.ip() }),
        ),
      ],
    })
    const { status, headers } = await app.get()
    expect(status).toBe(200)
    expect(headers['ratelimit']!.match(/r=4/g)).toHaveLength(3)
    expect(ticks).toEqual([0, 0, 0])
  })

  test('a refusal refunds what later members charged, and the first limit decides', async () => {
    const store = testStore()
    const app = start({
      options: { store },
      mount: (tp) => [
        tp.pipeline(
          tp.rateLimit({ name: 'first', limit: 1, window: '1m', key: tp.key.ip() }),
          tp.rateLimit({ name: 'second', limit: 10, window: '1m', key: tp.key.ip() }),
        ),
      ],
    })
    await app.get()
    const refused = await app.get()
    expect(refused.status).toBe(429)
    expect(JSON.parse(refused.text)['violated-policies']).toEqual(['first'])
    const second = app.tp.limiter('second', { limit: 10, window: '1m' })
    await vi.waitFor(async () => expect((await second.peek('127.0.0.1')).remaining).toBe(9))
  })

  test('a key that throws fails the request at its turn, after earlier refusals', async () => {
    const store = testStore()
    const app = start({
      options: { store },
      mount: (tp) => [
        tp.pipeline(
          tp.rateLimit({ name: 'first', limit: 1, window: '1m' }),
          tp.rateLimit({ name: 'second', limit: 1, window: '1m', key: tp.key.header('x-api-key') }),
        ),
      ],
    })
    expect((await app.get()).status).toBe(400)
    expect(app.errors[0]).toMatchObject({ code: 'TP_KEY' })
    expect((await app.get()).status).toBe(429)
  })

  test('a key that needs an earlier member is called after it', async () => {
    const store = testStore()
    const asked: unknown[] = []
    const app = start({
      options: { store },
      mount: (tp) => [
        tp.pipeline(
          tp.rateLimit({ name: 'ip', limit: 5, window: '1m' }),
          tp.rateLimit({
            name: 'user',
            limit: 5,
            window: '1m',
            key: (native: any) => {
              asked.push((native.rateLimit ?? native.state.rateLimit)?.remaining)
              return 'user'
            },
          }),
        ),
      ],
    })
    expect((await app.get()).status).toBe(200)
    expect(asked).toEqual([4])
  })
})

/** An engine that, like a Cluster, refuses keys of two slots in one script. */
class SlottedStore extends TestStore {
  override readonly isSplit: boolean = true
  calls = 0
  onRun = (): void => {}

  override run<Result extends OperationReply>(
    ...args: [Operation<Result>, readonly string[], readonly OperationArgument[]]
  ): Promise<Result> {
    this.calls++
    const slots = new Set(args[1].map((key) => calculateSlot(key)))
    if (slots.size > 1) return Promise.reject(new Error('CROSSSLOT'))
    const reply = super.run(...args)
    this.onRun()
    return reply
  }
}

test('on a Cluster each subject is one script, and a refusal by one refunds the others', async () => {
  const store = new SlottedStore()
  const tp = turnpike({ store })
  const limiter = tp.limiter('l', {
    policies: [
      { name: 'user', limit: 1, window: '1m' },
      { name: 'hour', limit: 9, window: '1h' },
      { name: 'all', limit: 9, window: '1m' },
    ],
  })
  const use = () => limiter.consume({ user: 'a', hour: 'a', all: 'everybody' })
  expect((await use()).allowed).toBe(true)
  expect(store.calls).toBe(2)
  const refused = await use()
  expect(refused.allowed).toBe(false)
  expect(refused.policies.map(({ name, violated }) => [name, violated])).toEqual([
    ['user', true],
    ['hour', false],
    ['all', false],
  ])
  await vi.waitFor(async () => {
    const { policies } = await limiter.peek({ user: 'b', hour: 'a', all: 'everybody' })
    expect(policies.map(({ remaining }) => remaining)).toEqual([1, 8, 8])
  })
  // All in one slot: one script for any number of policies.
  store.calls = 0
  await limiter.consume('same')
  expect(store.calls).toBe(1)
})

test('decisions of several servers are refunded to each at its own time', async () => {
  const store = new SlottedStore()
  store.onRun = () => void store.advance('5m')
  const tp = turnpike({ store })
  const limiter = tp.limiter('l', {
    policies: [
      { name: 'user', limit: 9, window: '1h' },
      { name: 'all', limit: 9, window: '1h' },
    ],
  })
  const subject = { user: 'a', all: 'everybody' }
  const left = async () => (await limiter.peek(subject)).policies.map(({ remaining }) => remaining)
  const decision = await limiter.consume(subject, 4)
  expect(await left()).toEqual([5, 5])
  await decision.settle(1)
  expect(await left()).toEqual([8, 8])
  await decision.refund()
  expect(await left()).toEqual([9, 9])
})
