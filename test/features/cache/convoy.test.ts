import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { readLog } from '../../../src/caching/invalidation-operations.ts'
import { lookupEntry } from '../../../src/caching/entry-operations.ts'
import { startRedis, testStore, type RedisServer } from '../../../src/testing.ts'
import type { OperationArgument, Operation, OperationReply } from '../../../src/store/store.ts'
import { signal, type Answer } from '../../frameworks/harness.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { until } from '../../support/until.ts'
import { counting, kinds, statusOf, type Handler } from './support.ts'

// Requests that wait for a response that turns out not to be shared are released at once.
// Nothing here measures time: the handlers wait for each other, and a convoy would stand still.

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

const prefixes = (function* () {
  for (let i = 0; ; i++) yield `convoy${i}`
})()
const patience = { commandTimeout: '5s', requestBudget: '9s' } as const
/** No request is released because of the time. */
const cache = { ttl: '10m', wait: '5m', lease: '5m' } as const

/** Responses that are not stored, each sent only when so many requests are in the handler at once. */
function together(many: number): Handler & { calls: number } {
  const all = signal()
  const handler = counting(async ({ set, send }) => {
    if (handler.calls === many) all.resolve()
    await all.promise
    set('Cache-Control', 'no-store')
    send(200, 'own')
  })
  return handler
}

/** One request that is in its handler until it is told to answer. */
function first(answer: Handler): { handler: Handler; entered: Promise<void>; answer(): void } {
  const [entered, goOn] = [signal(), signal()]
  const handler: Handler = async (tools) => {
    entered.resolve()
    await goOn.promise
    await answer(tools)
  }
  return { handler, entered: entered.promise, answer: () => goOn.resolve() }
}

const refusing: Handler = ({ set, send }) => (set('Cache-Control', 'no-store'), send(200, 'own'))
/** A client that can leave at any time. */
function leaver(url: URL): Socket {
  const socket = connect(Number(url.port), '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nHost: shop.example\r\nX-Leave: 1\r\n\r\n')
  socket.on('error', () => {})
  return socket
}
const several = <Value>(many: number, make: () => Promise<Value>): Promise<Value[]> =>
  Promise.all(Array.from({ length: many }, make))
const textsOf = (answers: Answer[]): string[] => [...new Set(answers.map(({ text }) => text))]

describe.each(kinds)('$name', ({ start }) => {
  test.each([0, 3])(
    'over a line that takes %i ms, twenty are released together when the first response is not stored',
    async (latency) => {
      await using proxy = await startFaultProxy(redis.port)
      proxy.set({ latency })
      for (let round = 0; round < 3; round++) {
        const crowd = together(19)
        let arrived = 0
        const complete = signal()
        const leader = counting(async (tools) => {
          if (leader.calls > 1) return await crowd(tools)
          await complete.promise
          return await refusing(tools)
        })
        const { get, tp } = await start({
          options: { redis: proxy.url, prefix: prefixes.next().value, ...patience },
          cache,
          handler: leader,
          outer: () => void (++arrived === 20 && complete.resolve()),
        })
        await several(20, () => get())
        expect(leader.calls).toBe(20)
        await tp.close()
      }
    },
  )

  test('the lease is one request’s, and its reply comes last: the others do not wait for another process', async () => {
    const store = testStore()
    const run = store.run.bind(store)
    let rest = signal()
    let looked = 0
    store.run = (async (
      operation: Operation,
      keys: string[],
      args: OperationArgument[],
      ...more: any[]
    ) => {
      const reply = (await (run as any)(operation, keys, args, ...more)) as OperationReply[]
      if (operation.name !== lookupEntry.name || args[2] !== '') return reply
      if (++looked === 20) setImmediate(() => rest.resolve())
      if (reply[1] === 1) await rest.promise
      return reply
    }) as typeof store.run
    const hello = counting()
    const kept = await start({ options: { store }, cache, handler: hello })
    const answers = await several(20, () => kept.get())
    expect([hello.calls, textsOf(answers)]).toEqual([1, ['hello']])
    expect(answers.filter((answer) => /hit|collapsed/.test(statusOf(answer))).length).toBe(19)
    ;[rest, looked] = [signal(), 0]
    const crowd = together(19)
    const handler = counting((tools) => (handler.calls === 1 ? refusing(tools) : crowd(tools)))
    const own = await start({ options: { store, prefix: 'own' }, cache, handler })
    await several(20, () => own.get())
    expect(handler.calls).toBe(20)
  })

  test.each(['stored', 'not stored'])(
    'a response that is %s before a lookup from its time is replied to: one request fills for all of them',
    async (kind) => {
      const store = testStore()
      const run = store.run.bind(store)
      const [looked, over] = [signal(), signal()]
      let late = 0
      store.run = (async (
        operation: Operation,
        keys: string[],
        args: OperationArgument[],
        ...more: any[]
      ) => {
        const reply = (await (run as any)(operation, keys, args, ...more)) as OperationReply[]
        if (operation.name !== lookupEntry.name || args[0] !== '' || late === 20) return reply
        if (++late === 20) looked.resolve()
        await over.promise
        return reply
      }) as typeof store.run
      const answer = kind === 'stored' ? counting() : counting(refusing)
      const leader = first(answer)
      const handler: Handler = (tools) =>
        answer.calls === 0 ? leader.handler(tools) : answer(tools)
      const { get, tp } = await start({ options: { store }, cache, handler })
      const asked = get()
      await leader.entered
      const waiting = several(20, () => get())
      await looked.promise
      leader.answer()
      await asked
      if (kind === 'stored') await until('it is stored', () => tp.cache.stats().stored === 1)
      over.resolve()
      await waiting
      expect(answer.calls).toBe(kind === 'stored' ? 1 : 21)
    },
  )

  test('another process’s response is not stored: all that wait here are released together, and later ones do not wait', async () => {
    const options = { redis: redis.url, prefix: prefixes.next().value, ...patience }
    const there = first(refusing)
    const crowd = together(20)
    const [a, b, c] = await Promise.all([
      start({ options, cache, handler: there.handler }),
      start({ options, cache, handler: crowd }),
      start({ options, cache, handler: together(20) }),
    ])
    await Promise.all([a, b, c].map(({ tp }) => tp.ready()))
    const headers = { host: 'shop.example' }
    const asked = a.get('/', headers)
    await there.entered
    let arrived = 0
    b.server.on('request', () => arrived++)
    const waiting = several(20, () => b.get('/', headers))
    await until('all wait', () => arrived === 20)
    expect(crowd.calls).toBe(0)
    there.answer()
    expect(textsOf([await asked, ...(await waiting)])).toEqual(['own'])
    // The third process has not heard of it; Redis remembers.
    expect(textsOf(await several(20, () => c.get('/', headers)))).toEqual(['own'])
    await Promise.all([a, b, c].map(({ tp }) => tp.close()))
  })

  test.each(['before it ends', 'while it ends'])(
    'what is invalidated all the time, each time %s, costs each reader at most one call of the handler',
    async (when) => {
      const options = { redis: redis.url, prefix: prefixes.next().value, ...patience }
      const handler = counting(async ({ send }) => {
        const invalidating = writer.tp.cache.invalidate({ tags: ['thing'] })
        if (when === 'before it ends') await invalidating
        send(200, 'hello')
        await invalidating
      })
      const tagged = { ...cache, tags: ['thing'] }
      const readers = await Promise.all([
        start({ options, cache: tagged, handler }),
        start({ options, cache: tagged, handler }),
      ])
      const [writer] = readers
      await Promise.all(readers.map(({ tp }) => tp.ready()))
      const headers = { host: 'shop.example' }
      for (let round = 1; round <= 5; round++) {
        await Promise.all(
          readers.map(async ({ get }) => await several(10, () => get('/', headers))),
        )
        expect(handler.calls).toBeLessThanOrEqual(20 * round)
      }
      await Promise.all(readers.map(({ tp }) => tp.close()))
    },
  )

  test('a request that finds the entry filled by then keeps no lease that others would wait for', async () => {
    const store = testStore()
    const [asked, goOn] = [signal(), signal()]
    const slow = new Proxy(store, {
      get(target, name: keyof typeof store) {
        if (name !== 'run') {
          const value = target[name]
          return typeof value === 'function' ? value.bind(target) : value
        }
        return async (
          operation: Operation,
          keys: string[],
          args: OperationArgument[],
          ...more: any[]
        ) => {
          const reply = await (target.run as any)(operation, keys, args, ...more)
          if (operation.name === readLog.name && args.includes('t:late')) {
            asked.resolve()
            await goOn.promise
          }
          return reply
        }
      },
    })
    const handler = counting(({ tags, send }) => (tags('late'), send(200, `made ${handler.calls}`)))
    const a = await start({ options: { store }, cache, handler })
    const b = await start({ options: { store: slow }, cache, handler })
    await a.get()
    await a.tp.cache.invalidate({ tags: ['late'] })
    const late = b.get()
    await asked.promise
    expect((await a.get()).text).toBe('made 2')
    await until('it is stored', () => a.tp.cache.stats().stored === 2)
    goOn.resolve()
    expect((await late).text).toBe('made 2')
    await a.tp.cache.invalidate({ tags: ['late'] })
    expect((await a.get()).text).toBe('made 3')
  })

  test('the first clients leave: each time one of those who wait takes over, and the others share its response', async () => {
    const [entered, goOn] = [signal(), signal()]
    const handler = counting(async ({ header, send, native, res }) => {
      if (header('x-leave')) {
        native.respond = false
        return res.req.socket.destroy()
      }
      entered.resolve()
      await goOn.promise
      return send(200, 'hello')
    })
    let arrived = 0
    const all = signal()
    const { get, url } = await start({
      options: { store: testStore() },
      cache: (tp) => [
        // The handlers begin when all requests are there.
        tp.cache({ ...cache, tags: () => all.promise.then(() => ['a']) }),
      ],
      handler,
      outer: () => void (++arrived === 103 && all.resolve()),
    })
    for (let i = 0; i < 3; i++) leaver(url)
    await until('those who will leave are first', () => arrived === 3)
    const waiting = several(100, () => get('/', { host: 'shop.example' }))
    await entered.promise
    goOn.resolve()
    expect(textsOf(await waiting)).toEqual(['hello'])
    expect(handler.calls).toBe(4)
  })

  test('the first client of another process leaves: one of those who wait here takes over', async () => {
    const options = { redis: redis.url, prefix: prefixes.next().value, ...patience }
    const entered = signal()
    const stuck: Handler = ({ native }) => {
      native.respond = false
      entered.resolve()
    }
    const hello = counting()
    const [a, b] = await Promise.all([
      start({ options, cache, handler: stuck }),
      start({ options, cache, handler: hello }),
    ])
    await Promise.all([a.tp.ready(), b.tp.ready()])
    const socket = leaver(a.url)
    await entered.promise
    let arrived = 0
    b.server.on('request', () => arrived++)
    const waiting = several(50, () => b.get('/', { host: 'shop.example' }))
    await until('all wait', () => arrived === 50)
    socket.destroy()
    expect(textsOf(await waiting)).toEqual(['hello'])
    expect(hello.calls).toBe(1)
    await Promise.all([a.tp.close(), b.tp.close()])
  })

  test.each([
    ['no-store', { 'cache-control': 'no-store' }],
    ['a user', { 'x-user': 'ann' }],
    ['an error of its own making', { 'x-broken': '1' }],
  ])(
    'attack: stampede by one request with %s: the others still share one response',
    async (_what, fields) => {
      const [entered, goOn] = [signal(), signal()]
      const handler = counting(async ({ native, header, send }) => {
        if (header('x-user')) native.user = { id: header('x-user') }
        if (header('x-user') && native.state) native.state.user = native.user
        entered.resolve()
        await goOn.promise
        return header('x-broken')
          ? send(400, 'broken')
          : send(200, `hello ${header('x-user') ?? ''}`)
      })
      let arrived = 0
      const { get, tp } = await start({
        options: { store: testStore() },
        cache,
        handler,
        outer: () => arrived++,
      })
      const attack = get('/', fields)
      await entered.promise
      const waiting = several(50, () => get())
      await until('all are there', () => arrived === 51)
      goOn.resolve()
      await attack
      expect(textsOf(await waiting)).toEqual(['hello '])
      // Its own run, and one for all others.
      expect(handler.calls).toBe(2)
      await until('it is stored', () => tp.cache.stats().stored === 1)
      // Nor does it mark the resource for those who come later.
      await tp.cache.clear()
      await get('/', fields)
      await several(20, () => get())
      expect(handler.calls).toBe(4)
    },
  )

  test('when a response turns out to vary, each variant is filled once', async () => {
    const goOn = signal()
    const calls: string[] = []
    const handler: Handler = async ({ header, set, send }) => {
      const language = header('accept-language')!
      calls.push(language)
      await goOn.promise
      set('Vary', 'Accept-Language')
      send(200, language)
    }
    let arrived = 0
    const { get } = await start({
      options: { store: testStore() },
      cache,
      handler,
      outer: () => arrived++,
    })
    const languages = ['de', 'en', 'fr']
    const waiting = Promise.all(
      Array.from({ length: 60 }, (_, i) => get('/', { 'accept-language': languages[i % 3]! })),
    )
    await until('all are there', () => arrived === 60)
    goOn.resolve()
    const answers = await waiting
    expect(answers.map(({ text }) => text)).toEqual(answers.map((_, i) => languages[i % 3]))
    expect(calls.toSorted()).toEqual(languages)
  })

  test('a request that is refused before its turn leaves its lease to one of the others', async () => {
    const options = { redis: redis.url, prefix: prefixes.next().value, ...patience }
    const handler = counting()
    const refused = signal()
    const a = await start({
      options,
      handler,
      cache: (tp) => [
        tp.pipeline(
          tp.rateLimit({
            limit: async () => {
              await refused.promise
              return 1
            },
            window: '1m',
            cost: 2,
          }),
          tp.cache(cache),
        ),
      ],
    })
    const b = await start({ options, cache, handler })
    onTestFinished(async () => void (await Promise.all([a.tp.close(), b.tp.close()])))
    await Promise.all([a.tp.ready(), b.tp.ready()])
    const headers = { host: 'shop.example' }
    const asked = a.get('/', headers)
    await until('it has the lease', async () => (await redis.send('KEYS', '*:lease')) !== '*0\r\n')
    const waiting = several(20, () => b.get('/', headers))
    refused.resolve()
    expect((await asked).status).toBe(429)
    expect(textsOf(await waiting)).toEqual(['hello'])
    expect(handler.calls).toBe(1)
  })
})
