import { gzipSync } from 'node:zlib'
import { Readable } from 'node:stream'
import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { bothEngines } from '../../support/engines.ts'
import { signal } from '../../frameworks/harness.ts'
import { until } from '../../support/until.ts'
import { counting, kinds, statusOf, type Handler, type Setup } from './support.ts'

// What the response cache guarantees; docs/cache.md tells of it.
const engines = bothEngines()

describe.each(engines)('the cache on the $name engine', ({ open, server: redis }) => {
  describe.each(kinds)('$name', ({ start }) => {
    describe.each([false, true])('compression outside: %s', (compressed) => {
      async function app(handler: Handler, rest: Omit<Setup, 'handler' | 'options'> = {}) {
        const opened = open()
        const options = { store: opened.store, prefix: opened.prefix, requestBudget: '9s' } as const
        return { ...(await start({ options, handler, compressed, ...rest })), ...opened }
      }

      test('a cookie is seen only by the client that it was set for', async () => {
        let user = 0
        const handler = counting(({ set, cookie, send }) => {
          const id = ++user
          set('Cache-Control', 'max-age=60')
          cookie('sid', `user${id}`)
          send(200, `you are ${id}`)
        })
        const { get } = await app(handler)
        const [first, second] = [await get(), await get()]
        expect([first.text, second.text]).toEqual(['you are 1', 'you are 2'])
        const many = await Promise.all(Array.from({ length: 20 }, () => get()))
        const all = [first, second, ...many]
        expect(new Set(all.map(({ headers }) => String(headers['set-cookie']))).size).toBe(22)
        expect(new Set(all.map(({ text }) => text)).size).toBe(22)
        expect(handler.calls).toBe(22)
      })

      test('the response for one bearer is not sent to another, unless it is public', async () => {
        const handler = counting(({ header, send }) => send(200, `for ${header('authorization')}`))
        const { get } = await app(handler)
        expect((await get('/', { authorization: 'Bearer alice' })).text).toBe('for Bearer alice')
        const bob = await get('/', { authorization: 'Bearer bob' })
        expect(bob.text).toBe('for Bearer bob')
        expect(statusOf(bob)).toBe('turnpike; fwd=bypass; detail=authorization')
        const shared = await app(
          counting(({ send }) => send(200, 'for all')),
          { cache: { ttl: '1m', public: true } },
        )
        await shared.get('/', { authorization: 'Bearer alice' })
        // The client has its answer before the store has the entry.
        await until('it is stored', () => shared.tp.cache.stats().stored === 1)
        expect(statusOf(await shared.get('/', { authorization: 'Bearer bob' }))).toContain('hit')
        const scoped = await app(handler, {
          cache: { ttl: '1m', scope: (native: any) => native.headers.authorization },
        })
        for (const who of ['alice', 'bob', 'alice', 'bob']) {
          expect((await scoped.get('/', { authorization: `Bearer ${who}` })).text).toBe(
            `for Bearer ${who}`,
          )
        }
        expect(handler.calls).toBe(4)
      })

      test('a response is stored for the headers that it varies by; `Vary: *` is not stored; variants are capped', async () => {
        const handler = counting(({ header, set, send }) => {
          set('Vary', 'Accept-Language')
          send(200, `in ${header('accept-language')}`)
        })
        const { get, prefix } = await app(handler)
        const inTongue = async (tongue: string) =>
          (await get('/', { 'accept-language': tongue })).text
        for (const tongue of ['de', 'fr', 'de', 'fr', 'de'])
          expect(await inTongue(tongue)).toBe(`in ${tongue}`)
        expect(handler.calls).toBe(2)
        const star = counting(({ set, send }) => (set('Vary', '*'), send(200, 'x')))
        const starred = await app(star)
        await starred.get()
        await starred.get()
        expect(star.calls).toBe(2)
        const count = compressed ? 40 : 1000
        for (let i = 0; i < count; i += 20) {
          await Promise.all(Array.from({ length: 20 }, (_, j) => inTongue(`x-${i + j}`)))
        }
        const server = redis()
        if (server) {
          const keys = await server.send('KEYS', `${prefix}:cache:*:v*`)
          expect(keys.split('\r\n').filter((key) => /:v[\w-]{22}$/.test(key)).length).toBe(32)
        }
        const before = handler.calls
        expect(await inTongue(`x-${count - 1}`)).toBe(`in x-${count - 1}`)
        expect(handler.calls).toBe(before)
      })

      test('HEAD then GET has the whole body; GET then HEAD has none, and the right length', async () => {
        const handler = counting()
        const { get, ask } = await app(handler)
        expect((await ask({ method: 'HEAD' })).text).toBe('')
        expect((await get()).text).toBe('hello')
        await get()
        const head = await ask({ method: 'HEAD', headers: { 'accept-encoding': 'identity' } })
        expect([head.status, head.text, head.headers['content-length']]).toEqual([200, '', '5'])
        expect(statusOf(head)).toContain('hit')
        expect(handler.calls).toBe(2)
      })

      test('a response that was cut off is never served', async () => {
        let broken = true
        const handler = counting(({ res, native, send }) => {
          if (!broken) return send(200, 'whole')
          native.respond = false
          res.write('half')
          setImmediate(() => res.destroy())
          return undefined
        })
        const { get } = await app(handler)
        await get().catch(() => {})
        broken = false
        expect((await get()).text).toBe('whole')
        // Ten bytes promised, five written.
        let short = true
        const lying = counting(({ res, native, send }) => {
          if (!short) return send(200, 'whole')
          native.respond = false
          res.writeHead(200, { 'Content-Length': '10' })
          res.end('short')
          setImmediate(() => res.destroy())
          return undefined
        })
        const liar = await app(lying)
        await liar.get().catch(() => {})
        short = false
        expect((await liar.get()).text).toBe('whole')
        // The client goes away in the middle.
        const gone = signal()
        const slow = counting(({ stream, send }) => {
          if (slow.calls > 1) return send(200, 'whole')
          const body = new Readable({ read() {} })
          body.push('half')
          body.once('close', () => gone.resolve())
          stream(body)
          return undefined
        })
        const slowly = await app(slow)
        const socket = connect(Number(slowly.url.port), '127.0.0.1')
        socket.write('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n')
        if (!compressed) await once(socket, 'data')
        else await new Promise((resolve) => setTimeout(resolve, 50))
        socket.destroy()
        await gone.promise
        expect((await slowly.get('/', { host: '127.0.0.1' })).text).toBe('whole')
      })

      test('a range on a cold cache leaves the whole behind, and a stored response gives the right slice', async () => {
        const handler = counting(({ send }) => send(200, Buffer.from('0123456789')))
        const { get } = await app(handler)
        const cold = await get('/', { range: 'bytes=2-4' })
        expect([cold.status, cold.bytes.toString()]).toEqual([206, '234'])
        const plain = await get()
        expect([plain.status, plain.text]).toEqual([200, '0123456789'])
        const slice = await get('/', { range: 'bytes=-3', 'accept-encoding': 'gzip' })
        expect([slice.status, slice.bytes.toString(), slice.headers['content-range']]).toEqual([
          206,
          '789',
          'bytes 7-9/10',
        ])
        expect((await get('/', { range: 'bytes=99-' })).status).toBe(416)
        expect(handler.calls).toBe(1)
      })

      test.each(['tag', 'tag declared at the end', 'purge', 'clear', 'pattern', 'two instances'])(
        'what was read before an invalidation by %s is not served after it',
        async (how) => {
          let value = 'OLD'
          const [reading, goOn] = [signal(), signal()]
          const handler = counting(async ({ tags, send }) => {
            const read = value
            if (handler.calls === 2) {
              reading.resolve()
              await goOn.promise
            }
            if (how === 'tag declared at the end') tags('thing')
            send(200, read)
          })
          const cache = {
            ttl: '1m',
            ...(how !== 'tag declared at the end' && { tags: ['thing'] }),
          } as const
          const { tp, get, store, prefix } = await app(handler, { cache })
          await get('/warm-up')
          const filling = get('/thing')
          await reading.promise
          value = 'NEW'
          const { turnpike } = await import('../../../src/node.ts')
          const other = turnpike({ store, prefix })
          if (how === 'purge') await tp.cache.purge('/thing')
          else if (how === 'clear') await tp.cache.clear()
          else if (how === 'pattern') await tp.cache.invalidatePattern('/th*')
          else await (how === 'two instances' ? other : tp).cache.invalidate({ tags: ['thing'] })
          // Who comes now is not answered by the one that is still on its way.
          const meanwhile = get('/thing')
          goOn.resolve()
          await filling
          expect((await meanwhile).text).toBe('NEW')
          expect((await get('/thing')).text).toBe('NEW')
        },
      )

      test('without its invalidation log the cache misses, and is never stale', async () => {
        const server = redis()
        let value = 1
        const [reading, goOn] = [signal(), signal()]
        const handler = counting(async ({ send }) => {
          const read = value
          if (handler.calls === 3) {
            reading.resolve()
            await goOn.promise
          }
          send(200, String(read))
        })
        const { get, prefix, store } = await app(handler)
        expect((await get()).text).toBe('1')
        value = 2
        const forget = async () => {
          if (server) await server.send('DEL', `${prefix}:inv:{log}`)
          else (store as any).delete(`${prefix}:inv:{log}`)
        }
        await forget()
        expect((await get()).text).toBe('2')
        const filling = get('/other')
        await reading.promise
        value = 3
        await forget()
        goOn.resolve()
        await filling
        expect((await get('/other')).text).toBe('3')
      })

      test('gzip from the handler is not sent to a client that cannot read it', async () => {
        const handler = counting(({ set, send }) => {
          set('Content-Encoding', 'gzip')
          set('Content-Type', 'text/plain')
          send(200, gzipSync('zipped'))
        })
        const { get } = await app(handler)
        expect((await get('/', { 'accept-encoding': 'gzip' })).text).toBe('zipped')
        const plain = await get('/', { 'accept-encoding': 'identity' })
        expect(plain.headers['content-encoding']).toBeUndefined()
        expect(plain.bytes.toString()).toBe('zipped')
        expect((await get('/', { 'accept-encoding': 'gzip' })).text).toBe('zipped')
        expect(handler.calls).toBe(1)
      })

      test('an error is not stored; a stale response is served instead, unless it must be revalidated', async () => {
        let status = 500
        const handler = counting(({ set, send }) => {
          if (status >= 500) throw Object.assign(new Error('down'), { status })
          set('Cache-Control', 'must-understand')
          send(200, 'good')
        })
        const { get, advance } = await app(handler, { cache: { ttl: '10s', staleIfError: '1m' } })
        expect((await get()).status).toBe(500)
        status = 200
        expect((await get()).text).toBe('good')
        status = 503
        await advance('11s')
        const stale = await get()
        expect([stale.status, stale.text]).toEqual([200, 'good'])
        expect(statusOf(stale)).toBe('turnpike; fwd=stale; fwd-status=503')
        expect(Number(stale.headers.age)).toBe(11)
        await advance('1m')
        expect((await get()).status).toBe(503)
        // must-revalidate forbids it.
        let strict = 200
        const stern = counting(({ set, send }) => {
          set('Cache-Control', 'must-revalidate')
          send(strict, strict === 200 ? 'good' : 'bad')
        })
        const sternly = await app(stern, { cache: { ttl: '10s', staleIfError: '1m' } })
        await sternly.get()
        strict = 500
        await sternly.advance('11s')
        expect((await sternly.get()).status).toBe(500)
      })

      test('attack: cache poisoning: a made-up host has entries of its own', async () => {
        const handler = counting(({ header, send }) => send(200, `link: ${header('host')}`))
        const { get, url } = await app(handler)
        await get('/', { host: 'evil.example' })
        expect((await get('/', { host: 'good.example' })).text).toBe('link: good.example')
        await get('/', { host: 'good.example', 'x-forwarded-host': 'evil.example' })
        expect((await get('/', { host: 'good.example' })).text).toBe('link: good.example')
        expect(handler.calls).toBe(2)
        // Two of them, or a target with a host of its own: not cached.
        for (const head of [
          'GET / HTTP/1.1\r\nHost: good.example\r\nHost: evil.example',
          'GET http://evil.example/ HTTP/1.1\r\nHost: good.example',
        ]) {
          const socket = connect(Number(url.port), '127.0.0.1')
          socket.write(`${head}\r\nConnection: close\r\n\r\n`)
          let text = ''
          for await (const piece of socket) text += piece
          expect(text).not.toContain('hit')
        }
        expect((await get('/', { host: 'good.example' })).text).toBe('link: good.example')
      })

      test('no two targets collide, and none reaches a header', async () => {
        const handler = counting(({ url, send }) => send(200, url))
        const { get } = await app(handler, {
          cache: { ttl: '1m', scope: (native: any) => native.headers['x-scope'] },
        })
        const targets = [
          '/?a=1&a=2',
          '/?a=2&a=1',
          '/?a=1',
          '/%0d%0aSet-Cookie:x=1',
          '/%00',
          '/a|b',
          '/a%7Cb',
          '/a',
          '/a/',
          '/A',
          '/?utm_source=x&a=1',
          '/v:1',
          '/:lease',
        ]
        for (let round = 0; round < 2; round++) {
          for (const target of targets) {
            const { text, headers } = await get(target)
            expect(text).toBe(target === '/?utm_source=x&a=1' ? '/?a=1' : target)
            expect(headers['set-cookie']).toBeUndefined()
          }
        }
        expect(handler.calls).toBe(targets.length - 1)
        for (const scope of ['x', 'x|', '|x', 'x,y']) await get('/scoped', { 'x-scope': scope })
        expect(handler.calls).toBe(targets.length - 1 + 4)
      })

      test('attack: cache deception: a personal page is not stored, whatever its path looks like', async () => {
        const handler = counting(({ native, send }) =>
          send(200, `account of ${native.session.name}`),
        )
        let name = 'ann'
        const { get } = await app(handler, {
          outer: ({ native }) => void (native.session = { cookie: {}, name }),
        })
        expect((await get('/account/x.css')).text).toBe('account of ann')
        name = 'bob'
        expect((await get('/account/x.css')).text).toBe('account of bob')
        // A session that begins in the handler counts, too.
        const late = counting(({ native, send }) => {
          native.session.name = `user ${late.calls}`
          send(200, native.session.name)
        })
        const lately = await app(late, {
          outer: ({ native }) => void (native.session = { cookie: {} }),
        })
        expect([(await lately.get('/login')).text, (await lately.get('/login')).text]).toEqual([
          'user 1',
          'user 2',
        ])
      })

      test('directives are read in any case and with quotes', async () => {
        for (const field of [
          'No-Store',
          'PRIVATE',
          'max-age=60, No-Cache',
          'foo="a", no-store',
          'private="x"',
        ]) {
          const handler = counting(({ set, send }) => (set('Cache-Control', field), send(200, 'x')))
          const { get } = await app(handler)
          await get()
          await get()
          expect(handler.calls, field).toBe(2)
        }
        const quoted = counting(
          ({ set, send }) => (set('Cache-Control', 'foo="a, no-store"'), send(200, 'x')),
        )
        const { get } = await app(quoted)
        await get()
        await get()
        expect(quoted.calls).toBe(1)
      })

      test('a client that has the response gets 304 from a cold cache, which then holds the 200', async () => {
        const handler = counting(({ header, set, send }) => {
          expect(header('if-none-match')).toBeUndefined()
          set('ETag', '"v1"')
          send(200, 'hello')
        })
        const { get } = await app(handler)
        const cold = await get('/', { 'if-none-match': '"v1"' })
        expect([cold.status, cold.text, cold.headers.etag]).toEqual([304, '', '"v1"'])
        const plain = await get('/', { 'accept-encoding': 'identity' })
        expect([plain.status, plain.text]).toEqual([200, 'hello'])
        expect(statusOf(plain)).toContain('hit')
        expect((await get('/', { 'if-none-match': 'W/"v1"' })).status).toBe(304)
        expect((await get('/', { 'if-none-match': '"other"' })).status).toBe(200)
        expect(handler.calls).toBe(1)
      })

      test('fields that were set outside the cache are those of the current request', async () => {
        let id = 0
        const { get } = await app(
          counting(({ set, send }) => (set('X-Inner', 'kept'), send(200, 'x'))),
          {
            outer: ({ set }) => set('X-Request-Id', String(++id)),
          },
        )
        const [miss, hit] = [await get(), await get()]
        expect([miss.headers['x-request-id'], hit.headers['x-request-id']]).toEqual(['1', '2'])
        expect(hit.headers['x-inner']).toBe('kept')
        expect(statusOf(hit)).toContain('hit')
      })

      test('many cold requests run the handler once; what cannot be stored makes no queue', async () => {
        const handler = counting(async ({ send }) => {
          await new Promise((resolve) => setTimeout(resolve, 200))
          send(200, 'once')
        })
        const { get } = await app(handler)
        const answers = await Promise.all(Array.from({ length: 100 }, () => get()))
        expect(handler.calls).toBe(1)
        expect(new Set(answers.map(({ text }) => text))).toEqual(new Set(['once']))
        expect(
          answers.filter((answer) => statusOf(answer).includes('collapsed')).length,
        ).toBeGreaterThan(10)
        // Not kept: all at once after the first, who is answered when all nineteen are in the handler.
        const [all, together] = [signal(), signal()]
        let [arrived, calls] = [0, 0]
        const uncacheable = counting(async ({ set, send }) => {
          if (++calls === 20) together.resolve()
          await (calls === 1 ? all : together).promise
          set('Cache-Control', 'no-store')
          send(200, 'x')
        })
        const other = await app(uncacheable, {
          // No request is released because of the time.
          cache: { ttl: '1m', wait: '5m', lease: '5m' },
          outer: () => void (++arrived === 20 && all.resolve()),
        })
        await Promise.all(Array.from({ length: 20 }, () => other.get()))
        expect(uncacheable.calls).toBe(20)
      })
    })
  })
})
