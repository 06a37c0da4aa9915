/** Channels on both engines: order, seams, gaps, bounds, tenants, mistakes. */
import { describe, expect, it, onTestFinished } from 'vitest'
import { turnpike } from '../../../src/node.ts'
import { channels, type ChannelMessage, type Subscription } from '../../../src/realtime.ts'
import type { TurnpikeOptions } from '../../../src/turnpike.ts'
import { bothEngines, type Opened } from '../../support/engines.ts'
import { until } from '../../support/until.ts'

const TOPIC = 'campaign:7'

/** What a subscription has delivered so far: data, or `'gap'`. */
function collect(subscription: Subscription<any>): unknown[] {
  const seen: unknown[] = []
  void (async () => {
    for await (const { data, gap } of subscription) seen.push(gap ? 'gap' : data)
    seen.push('end')
  })()
  return seen
}

async function take(
  subscription: AsyncIterator<ChannelMessage<any>>,
  count: number,
): Promise<ChannelMessage<any>[]> {
  const taken: ChannelMessage<any>[] = []
  while (taken.length < count) {
    const { value, done } = await subscription.next()
    if (done) break
    taken.push(value)
  }
  return taken
}

describe.each(bothEngines())('channels, $name', ({ open, server }) => {
  function instance(opened: Opened = open(), options: TurnpikeOptions<any> = {}) {
    const tp = turnpike({ store: opened.store, prefix: opened.prefix, ...options })
    onTestFinished(() => tp.close())
    return { ...opened, tp }
  }

  /** The history expires: time passes, and Redis, whose clock is another one, forgets it. */
  async function expire(opened: Opened): Promise<void> {
    await opened.advance('2h')
    await server()?.send('DEL', `${opened.prefix}:realtime:topic:{campaign%3a7}`)
  }

  it('delivers what is published to every subscriber, once and in order', async () => {
    const { tp, ...opened } = instance()
    const [live, other] = [channels(tp), channels(instance(opened).tp)]
    const readers = [live, live, other].map((each) => each.subscribe(TOPIC))
    await Promise.all(readers.map(({ ready }) => ready))
    const ids: string[] = []
    for (let i = 0; i < 50; i++) ids.push(await (i % 2 ? live : other).publish(TOPIC, { i }))
    for (const reader of readers) {
      const messages = await take(reader, 50)
      expect(messages.map(({ data }) => data.i)).toEqual(ids.map((_, i) => i))
      expect(messages.map(({ id }) => id)).toEqual(ids)
      expect(messages.every(({ topic, gap }) => topic === TOPIC && !gap)).toBe(true)
    }
    expect(new Set(ids).size).toBe(50)
  })

  it('delivers nothing of before, and nothing of another topic', async () => {
    const live = channels(instance().tp)
    await live.publish(TOPIC, 'old')
    const seen = live.subscribe(TOPIC)
    await seen.ready
    await live.publish('campaign:8', 'other')
    await live.publish(TOPIC, 'new')
    expect((await take(seen, 1))[0]).toMatchObject({ data: 'new' })
  })

  it('continues after the last known message while a publisher goes on: no gap, no double', async () => {
    const live = channels(instance().tp)
    const sent: number[] = []
    const ids: string[] = []
    let isPublishing = true
    const publishing = (async () => {
      while (isPublishing) {
        sent.push(sent.length)
        ids.push(await live.publish(TOPIC, sent.length - 1))
        if (sent.length % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    await until('a few are published', () => ids.length > 250)
    // Several pages are read while more are published.
    const readers = [0, 20, 249].map((i) => ({
      from: i + 1,
      seen: collect(live.subscribe(TOPIC, { after: ids[i]! })),
    }))
    await until('more are published', () => ids.length > 600)
    isPublishing = false
    await publishing
    for (const { from, seen } of readers) {
      await until('all have arrived', () => seen.at(-1) === sent.length - 1)
      expect(seen).toEqual(sent.slice(from))
    }
  })

  it('tells of messages that are older than the history, and goes on behind them', async () => {
    const live = channels(instance().tp, { history: { max: 3 } })
    const first = await live.publish(TOPIC, 0)
    for (let i = 1; i <= 5; i++) await live.publish(TOPIC, i)
    const seen = collect(live.subscribe(TOPIC, { after: first }))
    await until('the history has arrived', () => seen.length === 4)
    await live.publish(TOPIC, 6)
    await until('the next has arrived', () => seen.length === 5)
    expect(seen).toEqual(['gap', 3, 4, 5, 6])
  })

  it('the whole history is read after 0-0, and the position of a gap can be continued from', async () => {
    const live = channels(instance().tp, { history: { max: 3 } })
    await live.publish(TOPIC, 'a')
    const whole = live.subscribe(TOPIC, { after: '0-0' })
    expect((await take(whole, 1)).map(({ data }) => data)).toEqual(['a'])
    for (const data of ['b', 'c', 'd']) await live.publish(TOPIC, data)
    const [gap, ...rest] = await take(live.subscribe(TOPIC, { after: '0-0' }), 4)
    expect(gap).toMatchObject({ gap: true, data: undefined })
    expect(rest.map(({ data }) => data)).toEqual(['b', 'c', 'd'])
    const again = await take(live.subscribe(TOPIC, { after: gap!.id }), 3)
    expect(again.map(({ data }) => data)).toEqual(['b', 'c', 'd'])
  })

  it('tells a gap where the history has expired since', async () => {
    const opened = instance()
    const live = channels(opened.tp)
    const last = await live.publish(TOPIC, 1)
    await expire(opened)
    const seen = collect(live.subscribe(TOPIC, { after: last }))
    await until('the gap is told', () => seen.length === 1)
    await live.publish(TOPIC, 2)
    await until('the next has arrived', () => seen.length === 2)
    expect(seen).toEqual(['gap', 2])
  })

  it('tells no gap to a subscriber that stayed while the history of a quiet topic expired', async () => {
    const opened = instance()
    const live = channels(opened.tp)
    const subscription = live.subscribe(TOPIC)
    const seen = collect(subscription)
    await subscription.ready
    for (const data of [1, 2, 3]) {
      await live.publish(TOPIC, data)
      await until('it has arrived', () => seen.length === data)
      await expire(opened)
    }
    expect(seen).toEqual([1, 2, 3])
  })

  it('tells a gap where the history was lost while the subscription lasted', async () => {
    const opened = instance()
    const live = channels(opened.tp, { history: { max: 2 } })
    const subscription = live.subscribe(TOPIC)
    const seen = collect(subscription)
    await subscription.ready
    await live.publish(TOPIC, 1)
    await until('it has arrived', () => seen.length === 1)
    const key = `${opened.prefix}:realtime:topic:{campaign%3a7}`
    if (server()) await server()!.send('DEL', key)
    else (opened.store as any).delete(key)
    await opened.advance(1)
    await live.publish(TOPIC, 2)
    await until('the next has arrived', () => seen.length === 3)
    expect(seen).toEqual([1, 'gap', 2])
  })

  it('tells a gap where a new history began with a clock that is behind', async () => {
    const opened = instance()
    const live = channels(opened.tp)
    const subscription = live.subscribe(TOPIC)
    const seen = collect(subscription)
    await subscription.ready
    await live.publish(TOPIC, 1)
    await until('it has arrived', () => seen.length === 1)
    const key = `${opened.prefix}:realtime:topic:{campaign%3a7}`
    if (server()) await server()!.send('DEL', key)
    else (opened.store as any).delete(key)
    await opened.back('10s')
    await live.publish(TOPIC, 2)
    await until('the gap is told', () => seen.length > 1)
    await live.publish(TOPIC, 3)
    await until('the next has arrived', () => seen.at(-1) === 3)
    expect(seen).toEqual([1, 'gap', 3])
  })

  it('a subscriber of a topic without messages continues from where it began', async () => {
    const { tp } = instance()
    const live = channels(tp)
    const first = live.subscribe(TOPIC)
    await first.ready
    await live.publish(TOPIC, 'a')
    const [{ id }] = (await take(first, 1)) as [ChannelMessage]
    await live.publish(TOPIC, 'b')
    const seen = await take(live.subscribe(TOPIC, { after: id }), 1)
    expect(seen).toMatchObject([{ data: 'b', gap: false }])
  })

  it('a loop that is too slow loses the oldest messages, and is told', async () => {
    const live = channels(instance().tp)
    const slow = live.subscribe(TOPIC, { highWater: 3 })
    const fast = collect(live.subscribe(TOPIC))
    await slow.ready
    for (let i = 0; i < 10; i++) await live.publish(TOPIC, i)
    await until('the other one has all', () => fast.length === 10)
    const [gap, ...rest] = await take(slow, 4)
    expect(gap!.gap).toBe(true)
    expect(rest.map(({ data }) => data)).toEqual([7, 8, 9])
    const missed = await take(live.subscribe(TOPIC, { after: gap!.id }), 3)
    expect(missed.map(({ data }) => data)).toEqual([7, 8, 9])
  })

  it('ends with its signal, with the loop, and with the instance', async () => {
    const { tp } = instance()
    const live = channels(tp, { maxSubscriptions: 2 })
    const controller = new AbortController()
    const aborted = collect(live.subscribe(TOPIC, { signal: controller.signal }))
    const looped = live.subscribe(TOPIC)
    await looped.ready
    expect(() => live.subscribe(TOPIC)).toThrow(
      expect.objectContaining({ code: 'TP_LIMITED', status: 503 }),
    )
    controller.abort()
    await until('the signal has ended it', () => aborted.at(-1) === 'end')
    await live.publish(TOPIC, 1)
    for await (const { data } of looped) {
      expect(data).toBe(1)
      break
    }
    expect(await looped.next()).toEqual({ done: true, value: undefined })
    // Both places are free again.
    const closed = [live.subscribe(TOPIC), live.subscribe('another')].map(collect)
    await tp.close()
    await until('the instance has ended them', () => closed.every((seen) => seen.at(-1) === 'end'))
    expect(collect(live.subscribe(TOPIC))).toEqual([])
    await until('a late one ends at once', async () => (await live.subscribe(TOPIC).next()).done)
  })

  it('a signal that has fired before ends it at once', async () => {
    const live = channels(instance().tp, { maxSubscriptions: 1 })
    for (let i = 0; i < 3; i++) {
      const signal = AbortSignal.abort()
      expect(await live.subscribe(TOPIC, { signal }).next()).toMatchObject({ done: true })
    }
  })

  it('history: false delivers to those who listen, and stores nothing', async () => {
    const opened = instance()
    const live = channels(opened.tp, { history: false })
    expect(await live.publish(TOPIC, 'unheard')).toBe('')
    const subscription = live.subscribe(TOPIC, { after: '5-0' })
    await subscription.ready
    for (const data of [1, 2]) await live.publish(TOPIC, data)
    expect(await take(subscription, 2)).toEqual([
      { topic: TOPIC, id: '', data: 1, gap: false },
      { topic: TOPIC, id: '', data: 2, gap: false },
    ])
    expect((await server()?.send('KEYS', `${opened.prefix}:*`)) ?? '*0\r\n').toBe('*0\r\n')
  })

  it('two tenants with the same topic: nothing crosses', async () => {
    const { tp } = instance(undefined, { tenant: (req: any) => req.headers['x-tenant'] })
    const live = channels(tp)
    const subscriptions = ['a', 'b'].map((tenant) => live.subscribe(TOPIC, { tenant }))
    const seen = subscriptions.map(collect)
    await Promise.all(subscriptions.map(({ ready }) => ready))
    for (const tenant of ['a', 'b', 'a']) await live.publish(TOPIC, tenant, { tenant })
    await until('all have arrived', () => seen[0]!.length === 2 && seen[1]!.length === 1)
    expect(seen).toEqual([['a', 'a'], ['b']])
    const resumed = live.subscribe(TOPIC, { tenant: 'b', after: '0-0' })
    expect((await take(resumed, 1)).map(({ data }) => data)).toEqual(['b'])
    await expect(live.publish(TOPIC, 1)).rejects.toMatchObject({ code: 'TP_KEY' })
    expect(() => live.subscribe(TOPIC)).toThrow(expect.objectContaining({ code: 'TP_KEY' }))
  })

  it('no topic can leave its key, whatever a client puts into it', async () => {
    const live = channels(instance().tp)
    const topics = ['a}b', '{a}', 'a:b', 'a\nb', 'a', 'ä', '\u0000', 'x'.repeat(256), '__proto__']
    const seen = topics.map((topic) => live.subscribe(topic))
    await Promise.all(seen.map(({ ready }) => ready))
    for (const topic of topics) await live.publish(topic, topic)
    for (const [i, each] of seen.entries())
      expect(await take(each, 1)).toMatchObject([{ topic: topics[i], data: topics[i] }])
  })

  it('data arrives as JSON holds it', async () => {
    const live = channels(instance().tp)
    const values = [null, false, 0, '', [], { a: [1, { b: 'ü\n\u2028"' }] }, '\ud800', 'a b c  d']
    const subscription = live.subscribe(TOPIC)
    await subscription.ready
    for (const value of values) await live.publish(TOPIC, value)
    expect((await take(subscription, values.length)).map(({ data }) => data)).toEqual(values)
  })

  it.each([
    ['undefined', undefined],
    ['a function', () => {}],
    ['a bigint', 1n],
    ['more than 16 KiB', 'x'.repeat(16_383)],
  ])('%s cannot be published', async (_name, data) => {
    const live = channels(instance().tp)
    await expect(live.publish(TOPIC, data)).rejects.toMatchObject({ code: 'TP_VALUE' })
    await live.publish(TOPIC, 'x'.repeat(16_382))
  })

  it.each(['', 'x'.repeat(257), '\ud800', 5, undefined, null, ['a']])(
    '%j is no topic',
    async (topic: any) => {
      const live = channels(instance().tp)
      await expect(live.publish(topic, 1)).rejects.toMatchObject({ code: 'TP_KEY' })
      expect(() => live.subscribe(topic)).toThrow(expect.objectContaining({ code: 'TP_KEY' }))
    },
  )

  it.each<[string, any]>([
    ['histori', { histori: {} }],
    ['history', { history: true }],
    ['max', { history: { max: 0 } }],
    ['ttl', { history: { ttl: '1 hour' } }],
    ['ttl', { history: { ttl: '31d' } }],
    ['history.ttl', { history: { ttl: 5 } }],
    ['maxSubscriptions', { maxSubscriptions: 0 }],
  ])('refuses a wrong %s', (option, options) => {
    const { tp } = instance()
    expect(() => channels(tp, options)).toThrow(
      expect.objectContaining({ code: 'TP_OPTION', message: expect.stringContaining(option) }),
    )
  })

  it('refuses wrong options of a call, and other settings for the same topics', async () => {
    const { tp } = instance()
    const live = channels(tp)
    const wrong: any[] = [
      { after: 'x' },
      { after: 5 },
      { highWater: 0 },
      { signal: {} },
      { from: 1 },
    ]
    for (const options of wrong)
      expect(() => live.subscribe(TOPIC, options)).toThrow(
        expect.objectContaining({ code: 'TP_OPTION' }),
      )
    await expect(live.publish(TOPIC, 1, { tenants: 'a' } as any)).rejects.toMatchObject({
      code: 'TP_OPTION',
    })
    expect(() => channels(tp, { history: { max: 5 } })).toThrow(
      expect.objectContaining({ code: 'TP_OPTION' }),
    )
    expect(() => channels({} as any)).toThrow(expect.objectContaining({ code: 'TP_OPTION' }))
  })
})
