/** Caches around caches, and requests that wait for themselves. Patience is endless: who waits in vain, stands still. */
import { describe, expect, test } from 'vitest'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { counting, kinds, statusOf, type AnyTurnpike, type Handler } from './support.ts'

const engines = bothEngines()
const ENDLESS = { ttl: '10m', wait: '5m', lease: '5m', jitter: 0 } as const

describe.each(engines)('the cache on the $name engine', ({ open }) => {
  describe.each(kinds)('$name', (kind) => {
    async function app(mounts: (tp: AnyTurnpike) => any[], handler: Handler) {
      const { store, prefix } = open()
      const options = { store, prefix, requestBudget: '9s' } as const
      return await kind.start({ options, handler, cache: mounts })
    }
    const numbered = () => {
      const handler = counting(({ send }) => send(200, `number ${handler.calls}`))
      return handler
    }

    test.each<[string, (tp: AnyTurnpike) => any[]]>([
      ['two caches on one way', (tp) => [tp.cache(ENDLESS), tp.cache(ENDLESS)]],
      ['one mount twice', (tp) => ((mount) => [mount, mount])(tp.cache(ENDLESS))],
      ['two in one pipeline', (tp) => [tp.pipeline(tp.cache(ENDLESS), tp.cache(ENDLESS))]],
      [
        'one outside a pipeline with another',
        (tp) => [tp.cache(ENDLESS), tp.pipeline(tp.cache(ENDLESS))],
      ],
      [
        'with a near cache',
        (tp) => [tp.cache({ ...ENDLESS, near: true }), tp.cache({ ...ENDLESS, near: true })],
      ],
      [
        'the inner one with its own key',
        (tp) => [tp.cache(ENDLESS), tp.cache({ ...ENDLESS, key: () => 'own' })],
      ],
    ])('never wait for themselves: %s', async (_what, mounts) => {
      const handler = numbered()
      const { get, tp } = await app(mounts, handler)
      const answers = await Promise.all(Array.from({ length: 10 }, () => get()))
      expect([new Set(answers.map(({ text }) => text)), handler.calls]).toEqual([
        new Set(['number 1']),
        1,
      ])
      await until('it is stored', () => tp.cache.stats().stored > 0)
      expect(statusOf(await get())).toMatch(/^turnpike; hit/)
    })

    test.each<[string, object]>([
      ['the same entry', {}],
      ['its own entry', { key: () => 'own' }],
    ])('the tags of an inner cache with %s reach the outer one', async (_what, own) => {
      const handler = counting(({ tags, send }) => {
        tags('late')
        send(200, `number ${handler.calls}`)
      })
      const { get, tp } = await app(
        (tp) => [tp.cache(ENDLESS), tp.cache({ ...ENDLESS, ...own, tags: ['fixed', 7] })],
        handler,
      )
      let number = 0
      for (const tag of ['fixed', 'late', '7']) {
        expect((await get()).text).toBe(`number ${++number}`)
        await until('it is stored', async () => statusOf(await get()).startsWith('turnpike; hit'))
        await tp.cache.invalidate({ tags: [tag] })
      }
      expect((await get()).text).toBe(`number ${++number}`)
    })

    test('a hit of an inner cache brings its tags to the outer one', async () => {
      const handler = numbered()
      const { get, tp } = await app(
        (tp) => [tp.cache(ENDLESS), tp.cache({ ...ENDLESS, key: () => 'shared', tags: ['inner'] })],
        handler,
      )
      await get('/a')
      await until('it is stored', () => tp.cache.stats().stored === 2)
      // Another page of the outer cache, made of the inner one's entry.
      expect((await get('/b')).text).toBe('number 1')
      await until('it is stored', async () => statusOf(await get('/b')).startsWith('turnpike; hit'))
      await tp.cache.invalidate({ tags: ['inner'] })
      expect((await get('/b')).text).toBe('number 2')
    })

    test('what an inner cache keeps for one owner, an outer one does not give to all', async () => {
      const handler = counting(({ header, send }) => send(200, `for ${header('x-who')}`))
      const { get } = await app(
        (tp) => [
          tp.cache(ENDLESS),
          tp.cache({ ...ENDLESS, scope: (native: any) => native.headers['x-who'] }),
        ],
        handler,
      )
      for (let round = 0; round < 2; round++) {
        expect((await get('/', { 'x-who': 'ann' })).text).toBe('for ann')
        expect((await get('/', { 'x-who': 'bob' })).text).toBe('for bob')
      }
      expect(handler.calls).toBe(2)
    })

    test('what an inner cache varies by, an outer one varies by', async () => {
      const handler = counting(({ header, send }) => send(200, `in ${header('x-region')}`))
      const { get } = await app(
        (tp) => [tp.cache(ENDLESS), tp.cache({ ...ENDLESS, vary: ['X-Region'] })],
        handler,
      )
      for (let round = 0; round < 2; round++)
        for (const region of ['eu', 'us'])
          expect((await get('/', { 'x-region': region })).text).toBe(`in ${region}`)
    })

    test.each(['asks for one', 'is answered with one'])(
      'no request waits for a stream: who %s',
      async (how) => {
        const isAsked = how === 'asks for one'
        const streams: any[] = []
        const handler = counting(({ native, res }) => {
          native.respond = false
          res.writeHead(200, { 'Content-Type': 'text/event-stream' })
          res.write(`data: ${handler.calls}\n\n`)
          streams.push(res)
        })
        const { url } = await app((tp) => [tp.cache(ENDLESS)], handler)
        const headers = isAsked ? { accept: 'text/event-stream' } : {}
        const first = async (): Promise<string> => {
          const response = await fetch(url, { headers })
          const { value } = await response.body!.getReader().read()
          return `${response.headers.get('cache-status')} ${String(Buffer.from(value)).trim()}`
        }
        const all = await Promise.all(Array.from({ length: 5 }, first))
        expect(new Set(all).size).toBe(5)
        for (const each of all) expect(each).toContain('detail=stream')
        for (const res of streams) res.end()
      },
    )
  })
})
