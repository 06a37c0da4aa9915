/** Sets of strings of users, on both engines. */
import { describe, expect, it, onTestFinished } from 'vitest'
import { turnpike } from '../../../src/node.ts'
import {
  channels,
  sse,
  subscriptions,
  type UserSubscriptionsOptions,
} from '../../../src/realtime.ts'
import { testStore } from '../../../src/testing.ts'
import type { TurnpikeOptions } from '../../../src/turnpike.ts'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { openEvents } from './event-source.ts'

function create(options: TurnpikeOptions<any>, own: UserSubscriptionsOptions = {}) {
  const tp = turnpike({ requestBudget: '10s', ...options })
  onTestFinished(() => tp.close())
  return { tp, followed: subscriptions(tp, own) }
}

describe.each(bothEngines())('subscriptions, $name', ({ open }) => {
  it('adds, lists and removes', async () => {
    const { advance, prefix, store } = open()
    const { followed, tp } = create({ prefix, store })
    expect(await followed.add('ann', ['a', 'b', 'a'])).toBe(2)
    await advance(1)
    expect(await followed.add('ann', ['a'])).toBe(0)
    await followed.add(7, 'of another user')
    await subscriptions(tp, { name: 'tokens' }).add('ann', 'of another name')
    expect(await followed.list('ann')).toEqual(['a', 'b'])
    expect(await followed.list('7')).toEqual(['of another user'])
    expect(await followed.remove('ann', ['a', 'unknown'])).toBe(1)
    expect(await followed.list('ann')).toEqual(['b'])
    expect(await followed.list('bob')).toEqual([])
  })

  it('forgets what was not renewed, and what there is no room for', async () => {
    const { advance, prefix, store } = open()
    const { followed } = create({ prefix, store }, { ttl: '1h', max: 2 })
    await followed.add('ann', 'a')
    await advance('30m')
    await followed.add('ann', 'b')
    await advance('31m')
    expect(await followed.list('ann')).toEqual(['b'])
    for (const value of ['c', 'd']) {
      await advance(1)
      await followed.add('ann', value)
    }
    expect(await followed.list('ann')).toEqual(['d', 'c'])
  })
})

it.each(apps)('$name: a stream has the topics that its user follows', async (kind) => {
  let parts!: { live: ReturnType<typeof channels>; followed: ReturnType<typeof subscriptions> }
  const app = kind.start({
    options: { store: testStore() },
    mount(tp) {
      const [live, followed] = [channels(tp), subscriptions(tp)]
      parts = { live, followed }
      return [sse(live, { topics: ({ headers }: any) => followed.list(headers['x-user']) })]
    },
  })
  onTestFinished(() => app.tp.close())
  const { followed, live } = parts
  await followed.add('ann', ['a', 'b'])
  const client = await openEvents(app.server, '/', { 'x-user': 'ann' })
  await until('it has joined', () => client.lastEventId.split('~').length === 2)
  await live.publish('c', 1)
  await live.publish('b', 2)
  await until('the message', () => client.events.length === 1)
  expect(client.data).toEqual([{ topic: 'b', data: 2 }])
  expect((await app.get('/', { 'x-user': 'bob' })).status).toBe(204)
})

it('two tenants with the same user: nothing crosses', async () => {
  const { followed } = create({ store: testStore(), tenant: () => 'a' })
  await followed.add('ann', 'x', { tenant: 'a' })
  expect(await followed.list('ann', { tenant: 'b' })).toEqual([])
  await expect(followed.list('ann')).rejects.toMatchObject({ code: 'TP_KEY' })
})

describe('mistakes', () => {
  it.each([
    ['ttl', { ttl: '366d' }],
    ['max', { max: 1001 }],
    ['name', { name: 'a b' }],
  ])('%s that cannot be used', (option, options) => {
    expect(() => create({ store: testStore() }, options as never)).toThrow(
      expect.objectContaining({ code: 'TP_OPTION', option }),
    )
  })

  it('users and values that are none', async () => {
    const { followed } = create({ store: testStore() })
    for (const user of ['', Number.NaN, undefined, null, ['a', 'b']])
      await expect(followed.list(user as string)).rejects.toMatchObject({ code: 'TP_KEY' })
    for (const value of ['', 'x'.repeat(1025), '\ud800', 7, [], [''], Array(51).fill('a')])
      await expect(followed.add('ann', value as string)).rejects.toMatchObject({
        code: 'TP_VALUE',
      })
  })
})
