import express from 'express'
import request from 'supertest'
import { describe, expect, test, vi } from 'vitest'
import { apps, type AppSetup } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { renewed } from '../../support/renewal.ts'

const engines = bothEngines()

describe.each(engines)('idempotency on the $name engine', ({ open, server }) => {
  describe.each(apps)('$name', ({ name, start }) => {
    /** A shop whose handler counts its runs; `handle` may be given. */
    function shop(
      options: object = {},
      handle?: (native: any, run: number) => ReturnType<NonNullable<AppSetup['handle']>>,
    ) {
      const opened = open()
      const events: string[] = []
      let runs = 0
      const app = start({
        options: { store: opened.store, prefix: opened.prefix, requestBudget: '5s' },
        mount: (tp) => [
          tp.idempotency({ scope: (native: any) => native.headers['x-user'] ?? 'me', ...options }),
        ],
        handle: handle ? (native) => handle(native, ++runs) : () => [201, { order: ++runs }],
      })
      app.tp.on('idempotency', ({ type: what }: { type: string }) => events.push(what))
      const post = (
        key: string | undefined,
        body: object | string = { item: 1 },
        headers: Record<string, string> = {},
      ) => {
        const call = request(app.server).post('/orders').set(headers)
        if (key !== undefined) call.set('Idempotency-Key', key)
        return call.send(body)
      }
      return { ...opened, app, post, events, runs: () => runs }
    }

    test('the second time the answer is given again, byte for byte, and the handler does not run', async () => {
      const { post, runs, events } = shop()
      const first = await post('k1')
      const second = await post('k1')
      expect(first.status).toBe(201)
      expect(first.headers['idempotency-replayed']).toBeUndefined()
      expect(second.status).toBe(201)
      expect(second.text).toBe(first.text)
      expect(second.headers['content-type']).toBe(first.headers['content-type'])
      expect(second.headers['idempotency-replayed']).toBe('true')
      expect(runs()).toBe(1)
      expect(events).toEqual(['first', 'stored', 'replayed'])
      expect((await post('k2')).body === undefined).toBe(false)
      expect(runs()).toBe(2)
    })

    test('the application phrases every refusal, and sees its reason', async () => {
      let go = (): void => {}
      const { post } = shop(
        {
          required: true,
          maxBodyBytes: 0,
          reply: (_native: any, { reason, code }: any) => ({ body: { reason, code } }),
        },
        async (native) => {
          if (native.headers['x-slow'] !== undefined)
            await new Promise<void>((resolve) => (go = resolve))
          return [200, 'x']
        },
      )
      const refusal = async (...args: Parameters<typeof post>): Promise<unknown> => {
        const { status, text } = await post(...args)
        return [status, ...Object.values(JSON.parse(text) as object)]
      }
      expect(await refusal(undefined)).toEqual([400, 'missing', 'TP_IDEMPOTENCY_KEY'])
      expect(await refusal('a b')).toEqual([400, 'malformed', 'TP_IDEMPOTENCY_KEY'])
      const first = post('k', {}, { 'X-Slow': '1' }).then((answer) => answer)
      await vi.waitFor(async () =>
        expect(await refusal('k', {})).toEqual([409, 'running', 'TP_IDEMPOTENCY_CONFLICT']),
      )
      expect(await refusal('k', { other: 1 })).toEqual([422, 'mismatch', 'TP_IDEMPOTENCY_CONFLICT'])
      go()
      await first
      expect(await refusal('k', {})).toEqual([409, 'not-stored', 'TP_IDEMPOTENCY_CONFLICT'])
    })

    test('a string by RFC 9651 and the bare text are one key', async () => {
      const { post, runs } = shop()
      await post('abc')
      expect((await post('"abc"')).headers['idempotency-replayed']).toBe('true')
      expect((await post('"abc";v=1')).headers['idempotency-replayed']).toBe('true')
      expect(runs()).toBe(1)
    })

    test('a malformed key is refused: 400', async () => {
      const { post, runs, app } = shop()
      for (const key of [
        '',
        '""',
        'x'.repeat(256),
        '"open',
        'a b',
        'a,b',
        'a, b',
        '"a", "b"',
        '"é"',
        '?1',
        '12"',
      ]) {
        if (key === '?1') continue
        const answer = await post(key)
        expect(answer.status, key).toBe(400)
        expect(answer.headers['content-type']).toMatch('problem+json')
      }
      const twice = await request(app.server)
        .post('/')
        .set('Idempotency-Key', ['a', 'a'] as unknown as string)
      expect(twice.status).toBe(400)
      expect(runs()).toBe(0)
    })

    test('without a key a request passes; where one is required it is refused: 400, with a link', async () => {
      const open = shop()
      expect((await open.post(undefined)).status).toBe(201)
      const strict = shop({ required: true, docsUrl: 'https://shop.example/keys' })
      const refused = await strict.post(undefined)
      expect(refused.status).toBe(400)
      expect(refused.headers['link']).toBe('<https://shop.example/keys>; rel="describedby"')
      expect(JSON.parse(refused.text)).toMatchObject({
        type: 'https://shop.example/keys',
        status: 400,
      })
      expect((await request(strict.app.server).get('/')).status).toBe(201)
    })

    test('the same key for another body, query or path: 422, during the first request and after', async () => {
      let go = (): void => {}
      const { post, runs, app } = shop({}, async (_native, run) => {
        if (run === 1) await new Promise<void>((resolve) => (go = resolve))
        return [200, 'ok']
      })
      const first = post('k').then((answer) => answer)
      await vi.waitFor(() => expect(runs()).toBe(1))
      expect((await post('k', { item: 2 })).status).toBe(422)
      go()
      await first
      expect((await post('k', { item: 2 })).status).toBe(422)
      const keyed = (path: string) =>
        request(app.server).post(path).set('Idempotency-Key', 'k').send({ item: 1 })
      expect((await keyed('/orders')).status).toBe(200)
      expect([422, 200]).toContain((await keyed('/orders?x=1')).status)
      expect((await keyed('/orders?x=1')).headers['idempotency-replayed']).toBeUndefined()
      expect(runs()).toBe(1)
    })

    test('while the first is running: 409 with Retry-After, or its answer with `wait`', async () => {
      let go = (): void => {}
      const slow = async (_native: unknown, run: number) => {
        if (run === 1) await new Promise<void>((resolve) => (go = resolve))
        return [200, `answer ${run}`] as const
      }
      const hasty = shop({}, slow)
      const first = hasty.post('k').then((answer) => answer)
      await vi.waitFor(() => expect(hasty.runs()).toBe(1))
      const refused = await hasty.post('k')
      expect(refused.status).toBe(409)
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
      go()
      expect((await first).text).toBe('answer 1')

      const patient = shop({ wait: '1m' }, slow)
      const all = [patient.post('k').then((answer) => answer)]
      await vi.waitFor(() => expect(patient.runs()).toBe(1))
      for (let i = 0; i < 5; i++) all.push(patient.post('k').then((answer) => answer))
      await new Promise((resolve) => setTimeout(resolve, 50))
      go()
      // A message may come before the subscription. The poll behind it runs by this clock.
      const turning = setInterval(() => void patient.advance('200ms'), 20)
      expect((await Promise.all(all)).map(({ text }) => text)).toEqual(Array(6).fill('answer 1'))
      clearInterval(turning)
    })

    test('the key of another user: same key and body, no leak', async () => {
      const { post, runs } = shop({}, (native) => [200, `secret of ${native.headers['x-user']}`])
      const ann = await post('k', {}, { 'X-User': 'ann' })
      const bob = await post('k', {}, { 'X-User': 'bob' })
      expect(ann.text).toBe('secret of ann')
      expect(bob.text).toBe('secret of bob')
      expect(runs()).toBe(2)
    })

    test('throw: the key is not stranded', async () => {
      const { post, runs } = shop({}, (_native, run) => {
        if (run === 1) throw Object.assign(new Error('no'), { status: 500 })
        return [200, 'ok']
      })
      expect((await post('k')).status).toBe(500)
      const again = await post('k')
      expect(again.text).toBe('ok')
      expect(again.headers['idempotency-replayed']).toBeUndefined()
      expect((await post('k')).headers['idempotency-replayed']).toBe('true')
      expect(runs()).toBe(2)
    })

    test('a 5xx, a 429 and a 413 release the key, another 4xx is an answer; `store` decides otherwise', async () => {
      const answers = [503, 429, 413, 404, 200]
      const { post, runs } = shop({}, (_native, run) => [answers[run - 1]!, 'x'])
      expect((await post('k')).status).toBe(503)
      expect((await post('k')).status).toBe(429)
      expect((await post('k')).status).toBe(413)
      expect((await post('k')).status).toBe(404)
      expect((await post('k')).status).toBe(404)
      expect(runs()).toBe(4)
      const all = shop({ store: () => true }, (_native, run) => [500 + run, 'x'])
      await all.post('k')
      expect((await all.post('k')).status).toBe(501)
      expect(all.runs()).toBe(1)
    })

    test('a body over maxBodyBytes is marked: a repeated request is told so, and has no second effect', async () => {
      const { post, runs } = shop({ maxBodyBytes: 1000 }, () => [200, 'x'.repeat(1001)])
      expect((await post('k')).text).toHaveLength(1001)
      const again = await post('k')
      expect(again.status).toBe(409)
      expect(JSON.parse(again.text)).toMatchObject({
        title: 'The response was not stored',
        'response-status': 200,
      })
      expect(runs()).toBe(1)
    })

    test('a step is done once, although the request is run twice', async () => {
      let charged = 0
      const keys: string[] = []
      const { post } = shop({}, async (native, run) => {
        const { idempotency } = native.state ?? native
        const id = await idempotency.step('charge', ({ key }: { key: string }) => {
          keys.push(key)
          return { id: ++charged }
        })
        if (run === 1) throw Object.assign(new Error('after the charge'), { status: 500 })
        return [
          200,
          {
            id,
            attempt: idempotency.attempt,
            recovered: idempotency.recovered,
            tokens: idempotency.token > 0,
          },
        ]
      })
      expect((await post('k')).status).toBe(500)
      expect(JSON.parse((await post('k')).text)).toEqual({
        id: { id: 1 },
        attempt: 2,
        recovered: true,
        tokens: true,
      })
      expect(charged).toBe(1)
      expect(keys[0]).toMatch(/^[\w-]{43}$/)
    })

    test('answers are kept for ttl, and no longer', async () => {
      const { post, runs, advance } = shop({ ttl: '1h' })
      await post('k')
      await advance('59m')
      expect((await post('k')).headers['idempotency-replayed']).toBe('true')
      await advance('2m')
      expect((await post('k')).headers['idempotency-replayed']).toBeUndefined()
      expect(runs()).toBe(2)
    })

    test('its lease expires while the first still runs: its completion is refused and not sent as success', async () => {
      let go = (): void => {}
      const { post, runs, advance, events } = shop(
        { lease: '10s', maxLease: '1s' },
        async (_native, run) => {
          if (run === 1) await new Promise<void>((resolve) => (go = resolve))
          return [200, `answer ${run}`]
        },
      )
      const first = post('k').then((answer) => answer)
      await vi.waitFor(() => expect(runs()).toBe(1))
      await advance('4s')
      await advance('7s')
      const second = await post('k')
      expect(second.text).toBe('answer 2')
      go()
      const late = await first
      expect(late.status).toBe(409)
      expect(late.text).not.toContain('answer 1')
      expect((await post('k')).text).toBe('answer 2')
      expect(events).toEqual(['first', 'recovered', 'stored', 'lost', 'replayed'])
    })

    test("onCrash 'conflict': what was interrupted is not run again", async () => {
      let go = (): void => {}
      const { post, runs, advance } = shop(
        { lease: '10s', maxLease: '1s', onCrash: 'conflict' },
        async () => {
          await new Promise<void>((resolve) => (go = resolve))
          return [200, 'late']
        },
      )
      const first = post('k').then((answer) => answer)
      await vi.waitFor(() => expect(runs()).toBe(1))
      await advance('4s')
      await advance('7s')
      const second = await post('k')
      expect(second.status).toBe(409)
      expect(JSON.parse(second.text)).toMatchObject({ title: 'The request was interrupted' })
      // Nobody has taken over, so the first one's answer is still right.
      go()
      expect((await first).text).toBe('late')
      expect((await post('k')).text).toBe('late')
    })

    test('a long handler keeps its lease', async () => {
      let go = (): void => {}
      const { post, runs, advance, store } = shop({ lease: '9s' }, async () => {
        await new Promise<void>((resolve) => (go = resolve))
        return [200, 'done']
      })
      const first = post('k').then((answer) => answer)
      await vi.waitFor(() => expect(runs()).toBe(1))
      for (let i = 0; i < 10; i++) {
        await renewed({ store, advance }, '3s')
      }
      expect((await post('k')).status).toBe(409)
      go()
      expect((await first).text).toBe('done')
      expect(runs()).toBe(1)
    })

    test('a disconnect does not release a running key; its answer is there for the retry', async () => {
      let go = (): void => {}
      const { post, runs } = shop({}, async (_native, run) => {
        if (run === 1) await new Promise<void>((resolve) => (go = resolve))
        return [200, `answer ${run}`]
      })
      const aborted = post('k')
        .timeout(100)
        .catch(() => 'gone')
      await vi.waitFor(() => expect(runs()).toBe(1))
      expect(await aborted).toBe('gone')
      expect((await post('k')).status).toBe(409)
      go()
      await vi.waitFor(async () => expect((await post('k')).text).toBe('answer 1'))
      expect(runs()).toBe(1)
    })

    test('an event has the time since the request asked for its key', async () => {
      const { post, app, advance } = shop({}, async () => {
        await advance('2s')
        return [201, { paid: true }]
      })
      const seen: [type: string, ms: number][] = []
      app.tp.on('idempotency', ({ type, ms }: { type: string; ms: number }) =>
        seen.push([type, ms]),
      )
      await post('k')
      await post('k')
      expect(seen).toEqual([
        ['first', 0],
        ['stored', 2000],
        ['replayed', 0],
      ])
    })

    test('no key and no user stands in a key of Redis or in an event', async () => {
      const { post, prefix, app } = shop()
      const seen: unknown[] = []
      app.tp.on('idempotency', (event: unknown) => seen.push(event))
      await post('secret-key', {}, { 'X-User': 'secret-user' })
      expect(JSON.stringify(seen)).not.toContain('secret')
      const redis = server()
      if (redis) expect(await redis.send('KEYS', `${prefix}*`)).not.toContain('secret')
    })

    if (name === 'Express 5') {
      test.each(['before', 'after'] as const)('the body parser may stand %s', async (where) => {
        const opened = open()
        const app = start({
          options: { store: opened.store, prefix: opened.prefix, requestBudget: '5s' },
          mount: (tp) => {
            const idempotency = tp.idempotency({ scope: () => 'me' })
            return where === 'before'
              ? [express.json({ limit: '5mb' }), idempotency]
              : [idempotency, express.json({ limit: '5mb' })]
          },
          handle: (req) => [200, req.body],
        })
        const post = (key: string, body: object) =>
          request(app.server).post('/').set('Idempotency-Key', key).send(body)
        expect((await post('k', { a: 1 })).body).toEqual({ a: 1 })
        expect((await post('k', { a: 1 })).headers['idempotency-replayed']).toBe('true')
        expect((await post('k', { a: 2 })).status).toBe(422)
        const big = { text: 'x'.repeat(3_000_000) }
        expect((await post('big', big)).body).toEqual(big)
      })
    }
  })
})
