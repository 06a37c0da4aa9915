/** `ttl: 'auto'`: HTTP's own cache (RFC 9111), through HTTP on every framework. */
import { describe, expect, test } from 'vitest'
import type { Duration } from '../../../src/duration.ts'
import type { CacheOptions } from '../../../src/index.ts'
import { bothEngines } from '../../support/engines.ts'
import { counting, kinds, statusOf, type Handler, type Tools } from './support.ts'

/** Answers 304 if the handler is asked for what the client already has. */
function answer({ res, native, send, header }: Tools, etag: string, body: string): void {
  if (header('if-none-match') !== etag) return send(200, body)
  if (native.response && 'body' in native) {
    native.status = 304
    native.body = null
    return undefined
  }
  res.statusCode = 304
  return void res.end()
}

describe.each(bothEngines())('ttl auto on the $name engine', ({ open }) => {
  describe.each(kinds)('$name', ({ start }) => {
    async function app(handler: Handler, cache: Partial<CacheOptions<any>> = {}) {
      const opened = open()
      const { store, prefix } = opened
      const options = { store, prefix, requestBudget: '9s' } as const
      const started = await start({ options, handler, cache: { ttl: 'auto', ...cache } })
      /** A response may be stored after it was sent. */
      const isStored = (count = 1) =>
        expect.poll(() => started.tp.cache.stats().stored).toBeGreaterThanOrEqual(count)
      const advance = async (time: Duration) => {
        await isStored()
        await opened.advance(time)
      }
      return { ...started, ...opened, isStored, advance }
    }

    /** The handler of a resource with an ETag and one Cache-Control. */
    const tagged = (cacheControl: string) => {
      const seen: unknown[] = []
      const handler = counting((tools) => {
        seen.push(tools.header('if-none-match'))
        tools.set('Cache-Control', cacheControl)
        tools.set('ETag', '"v1"')
        tools.set('X-Round', String(handler.calls))
        answer(tools, '"v1"', 'the body')
      })
      return Object.assign(handler, { seen })
    }

    test('any final status is stored if the response says for how long', async () => {
      const handler = counting(({ url, set, send }) => {
        set('Cache-Control', 'max-age=60')
        send(Number(url.slice(1)), 'x')
      })
      const { get, isStored } = await app(handler)
      for (const status of [200, 201, 302, 303, 307, 400, 401, 404, 410, 500, 503, 599]) {
        await get(`/${status}`)
        await isStored(handler.calls)
        const hit = await get(`/${status}`)
        expect([hit.status, statusOf(hit)], String(status)).toEqual([
          status,
          'turnpike; hit; ttl=60',
        ])
      }
    })

    test('what tells of the range or the condition of one request is not stored', async () => {
      const handler = counting(({ url, set, send }) => {
        set('Cache-Control', 'max-age=60')
        send(Number(url.slice(1)), 'x')
      })
      const { get } = await app(handler)
      for (const status of [206, 412, 416]) {
        await get(`/${status}`)
        expect(statusOf(await get(`/${status}`)), String(status)).toBe(
          'turnpike; fwd=miss; detail=status',
        )
      }
    })

    test('a stale response is revalidated with the handler: its 304 makes the response fresh again', async () => {
      const handler = tagged('max-age=10')
      const { get, advance, isStored } = await app(handler)
      const first = await get()
      await advance('11s')
      const revalidated = await get()
      expect([revalidated.status, revalidated.text, revalidated.headers['x-round']]).toEqual([
        200,
        'the body',
        '2',
      ])
      expect(statusOf(revalidated)).toBe('turnpike; fwd=stale; fwd-status=304')
      expect(revalidated.headers['content-type']).toBe(first.headers['content-type'])
      await isStored(2)
      const hit = await get()
      expect([statusOf(hit), hit.headers['x-round']]).toEqual(['turnpike; hit; ttl=10', '2'])
      expect(handler.seen).toEqual([undefined, '"v1"'])
      // A client that has it gets 304 from a response that was just revalidated, too.
      await advance('11s')
      expect((await get('/', { 'if-none-match': '"v1"' })).status).toBe(304)
    })

    test('a response that has changed replaces the stale one', async () => {
      const handler = counting((tools) => {
        tools.set('Cache-Control', 'max-age=10')
        tools.set('ETag', `"v${handler.calls}"`)
        answer(tools, `"v${handler.calls}"`, `body ${handler.calls}`)
      })
      const { get, advance } = await app(handler)
      await get()
      await advance('11s')
      expect((await get()).text).toBe('body 2')
      expect([(await get()).text, handler.calls]).toEqual(['body 2', 2])
    })

    test('Last-Modified is a validator, too', async () => {
      const modified = new Date(Date.UTC(2020, 0, 1)).toUTCString()
      const seen: unknown[] = []
      const handler = counting(({ header, set, send }) => {
        seen.push(header('if-modified-since'))
        set('Cache-Control', 'max-age=10')
        set('Last-Modified', modified)
        send(200, 'x')
      })
      const { get, advance } = await app(handler)
      await get()
      await advance('11s')
      await get()
      expect(seen).toEqual([undefined, modified])
    })

    test('no-cache: the response is kept, and the handler is asked each time', async () => {
      const handler = tagged('no-cache')
      const { get, isStored } = await app(handler)
      expect(statusOf(await get())).toBe('turnpike; fwd=miss; stored')
      await isStored()
      for (const round of [2, 3]) {
        const answer = await get()
        expect([answer.text, answer.headers['x-round'], statusOf(answer)]).toEqual([
          'the body',
          String(round),
          'turnpike; fwd=stale; fwd-status=304',
        ])
      }
      expect(handler.seen).toEqual([undefined, '"v1"', '"v1"'])
    })

    test('what each request has to revalidate makes no queue', async () => {
      let running = 0
      let most = 0
      const handler = counting(async (tools) => {
        most = Math.max(most, ++running)
        tools.set('Cache-Control', 'no-cache')
        tools.set('ETag', '"v1"')
        await new Promise((resolve) => setTimeout(resolve, 300))
        running--
        answer(tools, '"v1"', 'the body')
      })
      const { get, isStored } = await app(handler)
      await get()
      await isStored()
      const answers = await Promise.all(Array.from({ length: 10 }, () => get()))
      expect(new Set(answers.map(({ text }) => text))).toEqual(new Set(['the body']))
      expect([handler.calls, most]).toEqual([11, 10])
    })

    test('many requests for a stale response are one revalidation', async () => {
      const handler = counting(async (tools) => {
        tools.set('Cache-Control', 'max-age=10')
        tools.set('ETag', '"v1"')
        await new Promise((resolve) => setTimeout(resolve, 200))
        answer(tools, '"v1"', 'the body')
      })
      const { get, advance } = await app(handler)
      await get()
      await advance('11s')
      const answers = await Promise.all(Array.from({ length: 10 }, () => get()))
      expect(new Set(answers.map(({ status, text }) => `${status} ${text}`))).toEqual(
        new Set(['200 the body']),
      )
      expect(handler.calls).toBe(2)
    })

    test('it is kept for `keep`, and never served while it must be revalidated', async () => {
      const handler = tagged('max-age=10, must-revalidate')
      const { get, advance } = await app(handler, { keep: '1m' })
      await get()
      await advance('69s')
      await get()
      await advance('71s')
      await get()
      expect(handler.seen).toEqual([undefined, '"v1"', undefined])
    })

    test('no-cache without a validator is not stored, and no-store never', async () => {
      // Express would add an ETag to a 200.
      const handler = counting(({ url, set, send }) => {
        set('Cache-Control', url.slice(1))
        send(404, 'x')
      })
      const { get } = await app(handler)
      for (const [url, detail] of [
        ['/no-cache,max-age=60', 'no-cache'],
        ['/no-store,max-age=60', 'no-store'],
        ['/private,max-age=60', 'private'],
      ] as const) {
        await get(url)
        expect(statusOf(await get(url))).toBe(`turnpike; fwd=miss; detail=${detail}`)
      }
    })

    test('a response to a request with Authorization is shared only if it says so', async () => {
      const handler = counting(({ url, set, send, header }) => {
        set('Cache-Control', decodeURIComponent(url.slice(1)))
        send(200, `${header('authorization')} ${handler.calls}`)
      })
      const { get, isStored } = await app(handler)
      const as = (name: string, path: string) => get(path, { authorization: name })
      for (const word of ['public', 's-maxage=60', 'must-revalidate']) {
        const path = `/max-age=60,${word}`
        const first = await as('alice', path)
        await isStored(handler.calls)
        const second = await as('bob', path)
        expect([second.text, statusOf(second)], word).toEqual([first.text, 'turnpike; hit; ttl=60'])
        expect((await get(path)).text, word).toBe(first.text)
      }
      const path = '/max-age=60'
      expect((await as('alice', path)).text).toMatch(/^alice/)
      const bob = await as('bob', path)
      expect([bob.text.split(' ')[0], statusOf(bob)]).toEqual([
        'bob',
        'turnpike; fwd=bypass; detail=authorization',
      ])
      const stored = handler.calls
      expect((await get(path)).text).toMatch(/^undefined/)
      await isStored(stored - 2)
      // The anonymous response is stored now, and is not for Bob.
      expect((await as('bob', path)).text).toMatch(/^bob/)
    })

    test('requests with Authorization do not wait for each other', async () => {
      let running = 0
      let most = 0
      const handler = counting(async ({ header, send, set }) => {
        most = Math.max(most, ++running)
        set('Cache-Control', 'max-age=60')
        await new Promise((resolve) => setTimeout(resolve, 300))
        running--
        send(200, String(header('authorization')))
      })
      const { get } = await app(handler)
      const names = Array.from({ length: 8 }, (_, i) => `user ${i}`)
      const answers = await Promise.all(names.map((name) => get('/', { authorization: name })))
      expect(answers.map(({ text }) => text)).toEqual(names)
      expect(most).toBe(8)
    })

    test('the Date of a response stays with it, and Age counts from it', async () => {
      let made: string | undefined
      const handler = counting(({ url, set, send }) => {
        set('Cache-Control', 'max-age=60')
        if (url === '/dated') set('Date', made!)
        send(200, 'x')
      })
      const { get, advance, store, isStored } = await app(handler)
      made = new Date(store.now() - 5000).toUTCString()
      await get('/dated')
      await get('/undated')
      await isStored(2)
      const noted = (await get('/undated')).headers.date
      await advance('20s')
      const dated = await get('/dated')
      expect(dated.headers.date).toBe(made)
      expect(['25', '26']).toContain(dated.headers.age)
      const undated = await get('/undated')
      expect([undated.headers.date, undated.headers.age]).toEqual([noted, '20'])
    })

    test('a lifetime is assumed only with heuristic: true', async () => {
      const modified = new Date(Date.UTC(2020, 0, 1)).toUTCString()
      const handler = counting(({ set, send }) => {
        set('Last-Modified', modified)
        send(200, 'x')
      })
      const without = await app(handler)
      await without.get()
      expect(statusOf(await without.get())).toBe('turnpike; fwd=miss; detail=freshness')
      const { get, isStored } = await app(handler, { heuristic: true })
      await get()
      await isStored()
      expect(statusOf(await get())).toBe(`turnpike; hit; ttl=86400`)
    })

    test('fields that Connection names are those of one connection', async () => {
      const handler = counting(({ set, send }) => {
        set('Cache-Control', 'max-age=60')
        set('Connection', 'X-Hop')
        set('X-Hop', '1')
        send(200, 'x')
      })
      const { get, isStored } = await app(handler)
      expect((await get()).headers['x-hop']).toBe('1')
      await isStored()
      const hit = await get()
      expect([statusOf(hit), hit.headers['x-hop']]).toEqual(['turnpike; hit; ttl=60', undefined])
    })

    test('an error that says how long it is fresh does not replace what is served in its place', async () => {
      const handler = counting(({ set, send }) => {
        set('Cache-Control', 'max-age=10, stale-if-error=60')
        send(handler.calls === 2 ? 503 : 200, `number ${handler.calls}`)
      })
      const { get, advance } = await app(handler)
      await get()
      await advance('11s')
      const instead = await get()
      expect([instead.text, statusOf(instead)]).toEqual([
        'number 1',
        'turnpike; fwd=stale; fwd-status=503',
      ])
    })
  })
})
