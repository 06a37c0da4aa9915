/** What a purge, a pattern, a tag or a write reaches, however it is spelled. */
import { METHODS } from 'node:http'
import { describe, expect, test } from 'vitest'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { counting, kinds, statusOf, type Handler, type Setup } from './support.ts'

/** Node 20 does not parse QUERY. */
const SAFE_METHODS = ['PROPFIND', 'REPORT', 'SEARCH', 'QUERY', 'OPTIONS', 'TRACE'].filter(
  (method) => METHODS.includes(method),
)

const engines = bothEngines()

describe.each(engines)('the cache on the $name engine', ({ open }) => {
  describe.each(kinds)('$name', (kind) => {
    async function app(handler: Handler, rest: Omit<Setup, 'handler' | 'options'> = {}) {
      const { store, prefix } = open()
      const options = { store, prefix, requestBudget: '9s' } as const
      const it = await kind.start({ options, handler, ...rest })
      /** Requests a target until its response is stored. */
      const warm = async (target: string): Promise<string> =>
        await until('it is stored', async () => {
          const answer = await it.get(target)
          return statusOf(answer).includes('hit') ? answer.text : undefined
        })
      return { ...it, warm }
    }
    const numbered = () => {
      const handler = counting(({ send }) => send(200, `number ${handler.calls}`))
      return handler
    }

    test.each<[string, string, string]>([
      ['percent-encoding of what needs none', '/products/%61', '/products/a'],
      ['percent-encoding in another case', '/caf%c3%a9', '/caf%C3%A9'],
      ['letters beyond ASCII', '/caf%C3%A9', '/café'],
      ['an encoded slash', '/files/a%2Fb', '/files/a/b'],
      ['upper and lower case', '/Products/A', '/products/a'],
      ['a slash at the end', '/products/', '/products'],
      ['dot segments', '/products/x/../a', '/products/a'],
      ['a whole URL', '/products/a', 'https://shop.example/products/a'],
      ['no slash at the beginning', '/products/a', 'products/a'],
      ['a host without a scheme', '/products/a', 'shop.example/products/a'],
      ['a host with a port', '/list?a=1', 'localhost:3000/list?a=1'],
      ['a host alone', '/', 'shop.example'],
      ['a path that looks like a host', '/v1.0/products', 'v1.0/products'],
      ['a query in another order', '/list?b=2&a=1', '/list?a=1&b=2'],
      ['a query in another encoding', '/list?q=a%20b&x=%C3%A9', '/list?q=a+b&x=é'],
      ['parameters that are ignored', '/list?a=1&utm_source=mail', '/list?utm_source=other&a=1'],
      ['the root', '/?a=1', '/'],
    ])('a purge reaches the page in another spelling: %s', async (_what, asked, purged) => {
      const { get, tp, warm } = await app(numbered())
      const before = await warm(asked)
      await tp.cache.purge('/other')
      await tp.cache.purge('/list?a=2')
      expect((await get(asked)).text).toBe(before)
      await tp.cache.purge(purged)
      expect((await get(asked)).text).not.toBe(before)
    })

    test.each([
      ['an empty string', ''],
      ['another scheme', 'ftp://shop.example/a'],
      ['a URL that cannot be parsed', 'http://[shop.example/a'],
      ['a number', 7],
      ['a hole', undefined],
    ])('a purge of what can match nothing is an error: %s', async (_what, purged) => {
      const list = purged === undefined ? Array.from<unknown>({ length: 0 }) : [purged]
      list.length = 1
      const { tp, ask, errors } = await app(numbered(), {
        cache: (own) => [own.invalidate({ purge: () => list as string[] })],
      })
      await expect(tp.cache.purge(purged as never)).rejects.toMatchObject({ code: 'TP_OPTION' })
      expect((await ask({ method: 'PUT', path: '/a' })).status).toBe(500)
      expect(errors).toMatchObject([{ code: 'TP_OPTION', option: 'purge' }])
    })

    test('a purge reads a query as the mount does', async () => {
      const { get, tp, warm } = await app(numbered(), {
        cache: { ttl: '1m', query: { allow: ['page', 'q'], sort: true } },
      })
      const [one, two] = [await warm('/list?q=a&session=x&page=1'), await warm('/list?page=2')]
      await tp.cache.purge('/list?page=1&session=y&q=a')
      expect((await get('/list?page=1&q=a')).text).not.toBe(one)
      expect((await get('/list?page=2&session=z')).text).toBe(two)
      await tp.cache.purge('/list')
      expect((await get('/list?page=2')).text).not.toBe(two)
    })

    test.each<[string, string, string]>([
      ['letters beyond ASCII', '/b/%C3%BC', '/b/ü*'],
      ['encoded as it was asked for', '/b/%C3%BC', '/b/%C3%BC'],
      ['in another case', '/Products/1', '/products/*'],
      ['with a slash at the end', '/products/1/', '/products/?'],
    ])('a pattern reaches the page: %s', async (_what, asked, glob) => {
      const { get, tp, warm } = await app(numbered())
      const before = await warm(asked)
      expect(await tp.cache.invalidatePattern('/nothing*')).toBe(0)
      expect(await tp.cache.invalidatePattern(glob, { dryRun: true })).toBe(1)
      expect((await get(asked)).text).toBe(before)
      expect(await tp.cache.invalidatePattern(glob)).toBe(1)
      expect((await get(asked)).text).not.toBe(before)
    })

    test.each(['/Products/1', '/products/1/', '/products/%31', '/products/1?x=1'])(
      'a write to %s invalidates the page that it changes',
      async (target) => {
        const { get, ask, warm } = await app(numbered())
        const before = await warm('/products/1')
        await ask({ method: 'PUT', path: target })
        expect((await get('/products/1')).text).not.toBe(before)
      },
    )

    test.each(SAFE_METHODS)(
      '%s is safe: it invalidates nothing, and its response is not stored',
      async (method) => {
        const { get, ask, warm } = await app(numbered())
        const before = await warm('/a')
        await ask({ method, path: '/a' })
        expect((await get('/a')).text).toBe(before)
      },
    )

    test('tags are strings or numbers, and 5 is the tag of "5"', async () => {
      const { get, tp, warm } = await app(numbered(), {
        cache: { ttl: '1m', tags: () => [5, 'a'] },
      })
      const before = await warm('/')
      await tp.cache.invalidate({ tags: ['5'] })
      const after = await warm('/')
      expect(after).not.toBe(before)
      await tp.cache.invalidate({ tags: [5] })
      expect((await get('/')).text).not.toBe(after)
    })

    test.each<[string, unknown]>([
      ['undefined', [undefined]],
      ['an empty string', ['']],
      ['NaN', [NaN]],
      ['an object', [{ id: 1 }]],
      ['a string in place of a list', 'product:1'],
      ['nothing', undefined],
    ])('what is no tag is an error, from wherever it comes: %s', async (_what, tags) => {
      const own = await app(numbered(), { cache: { ttl: '1m', tags: () => tags as any } })
      expect((await own.get('/')).status).toBe(500)
      expect(own.errors[0]).toMatchObject({ code: 'TP_VALUE' })
      const late = await app(({ native, res, send }) => {
        const give = (native.cacheTags ?? (res as any).cacheTags).bind(native)
        try {
          give(...(Array.isArray(tags) ? tags : [tags]))
          send(200, 'taken')
        } catch (error) {
          send(200, (error as { code: string }).code)
        }
      })
      // A string is one tag there.
      if (typeof tags !== 'string') expect((await late.get('/')).text).toBe('TP_VALUE')
      await expect(late.tp.cache.invalidate({ tags: tags as any })).rejects.toMatchObject({
        code: expect.stringMatching(/^TP_(VALUE|OPTION)$/),
      })
    })

    test('any number of tags works, or is refused by reason; nothing outlives clear()', async () => {
      let count = 990
      const many = (): string[] => Array.from({ length: count }, (_, i) => `tag ${i}`)
      const handler = counting(({ tags, send }) => {
        tags(...many())
        send(200, `number ${handler.calls}`)
      })
      const { get, tp } = await app(handler)
      await get('/')
      await until('it is stored', () => tp.cache.stats().stored === 1)
      expect(statusOf(await get('/'))).toContain('hit')
      await tp.cache.invalidate({ tags: ['tag 989'] })
      expect((await get('/')).text).toBe('number 2')
      count = 20_000
      for (let i = 0; i < 3; i++) {
        const answer = await get('/more')
        expect([answer.status, statusOf(answer)]).toEqual([200, 'turnpike; fwd=miss; detail=tags'])
      }
      // More tags than one script takes at once.
      await tp.cache.invalidate({ tags: many() })
      await tp.cache.clear()
      expect((await get('/')).status).toBe(200)
      const early = await app(counting(), { cache: { ttl: '1m', tags: many } })
      const answer = await early.get('/')
      expect([answer.status, statusOf(answer)]).toEqual([200, 'turnpike; fwd=bypass; detail=tags'])
    })
  })
})
