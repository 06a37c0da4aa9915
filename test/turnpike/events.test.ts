/** Listeners are notified of events, without secrets, and cannot change what they report. */
import { channel } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { EventBus, type EventMap, type EventName } from '../../src/events.ts'
import { turnpike } from '../../src/node.ts'
import { startRedis, testStore, type RedisServer } from '../../src/testing.ts'
import { runScript } from '../support/child.ts'
import { express4App, express5, koa3, type AnyTurnpike } from '../support/serve.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'
import { until } from '../support/until.ts'

let server: RedisServer

beforeAll(async () => {
  server = await startRedis()
})
afterEach(async () => {
  server.thaw()
  await expectEveryKeyToExpire(server)
})
afterAll(() => server.stop())

const NAMES: EventName[] = ['decision', 'unavailable', 'breaker', 'replaced', 'error', 'warning']

/** Collects every event of an instance from now on, from `on()` and from diagnostics_channel. */
function collect(tp: Pick<AnyTurnpike, 'on'>): {
  emitted: { [Name in EventName]: EventMap[Name][] }
  published: Record<string, unknown[]>
} {
  const emitted = Object.fromEntries(NAMES.map((name) => [name, []])) as never
  const published: Record<string, unknown[]> = {}
  for (const name of NAMES) {
    tp.on(name, (event) => (emitted[name] as unknown[]).push(event))
    const bus = channel(`turnpike:${name}`)
    const note = (event: unknown): void => void (published[name] ??= []).push(event)
    bus.subscribe(note)
    onTestFinished(() => {
      bus.unsubscribe(note)
    })
  }
  return { emitted, published }
}

it('nothing is measured while nothing listens', async () => {
  const events = new EventBus('')
  expect(events.since(events.begin('token'))).toBeUndefined()
  const end = events.on('token', () => {})
  const began = events.begin('token')
  expect(events.since(began)).toBeGreaterThanOrEqual(0)
  end()
  expect(events.begin('token')).toBeUndefined()
  expect(events.begin('session')).toBeUndefined()
})

describe('decisions', () => {
  it('are reported with what decided them, to listeners and to diagnostics_channel', async () => {
    await using tp = turnpike({ store: testStore() })
    const { emitted, published } = collect(tp)
    const limiter = tp.limiter('api', { limit: 1, window: '1m' })
    await limiter.consume('ann')
    await limiter.consume('ann')
    const shared = {
      feature: 'limiter',
      name: 'api',
      shadow: false,
      source: 'store',
      policy: 'api',
      limit: 1,
      remaining: 0,
      subject: 'ann',
    }
    expect(emitted.decision).toEqual([
      { ...shared, allowed: true, retryAfterMs: 0, ms: expect.any(Number) },
      { ...shared, allowed: false, retryAfterMs: 60_000, ms: expect.any(Number) },
    ])
    expect(published['decision']).toEqual(emitted.decision)
  })

  it('of failure rules come with the reason', async () => {
    const store = testStore()
    await using tp = turnpike({ store })
    const { emitted, published } = collect(tp)
    store.fail()
    await tp.limiter('rule', { limit: 1, window: '1m', fail: 'closed' }).consume('ann')
    expect(emitted.unavailable).toEqual([
      { feature: 'limiter', name: 'rule', reason: 'not-ready', uncertain: false, rule: 'closed' },
    ])
    expect(emitted.decision).toMatchObject([{ allowed: false, source: 'closed', limit: undefined }])
    expect(published['unavailable']).toEqual(emitted.unavailable)
  })

  it('are not reported to a listener that has unsubscribed', async () => {
    await using tp = turnpike({ store: testStore() })
    let calls = 0
    const leave = tp.on('decision', () => calls++)
    const limiter = tp.limiter('left', { limit: 5, window: '1m' })
    await limiter.consume('ann')
    leave()
    leave()
    await limiter.consume('ann')
    expect(calls).toBe(1)
  })

  it('reach every listener of their instance, and none of another', async () => {
    await using tp = turnpike({ store: testStore() })
    await using other = turnpike({ store: testStore() })
    const called: string[] = []
    tp.on('decision', () => called.push('a'))
    tp.on('decision', () => called.push('b'))
    other.on('decision', () => called.push('other'))
    await tp.limiter('several', { limit: 5, window: '1m' }).consume('ann')
    expect(called).toEqual(['a', 'b'])
  })
})

describe('requests of a cache', () => {
  it.each([express4App, express5, koa3])(
    'are reported with their duration on $name',
    async ({ serve }) => {
      const { tp, get } = await serve({
        options: { store: testStore() },
        routes: (tp) => ({ '/': tp.cache({ name: 'pages', ttl: '1m' }) }),
      })
      const seen: EventMap['cache'][] = []
      await get('/')
      tp.on('cache', (event) => seen.push(event))
      await get('/')
      await get('/?other')
      await get('/', { authorization: 'Bearer a' })
      expect(seen.map(({ type, ms }) => [type, ms])).toEqual([
        ['hit', expect.any(Number)],
        ['miss', expect.any(Number)],
        ['bypass', undefined],
      ])
      for (const { ms } of seen.slice(0, 2)) expect(ms).toBeLessThan(10_000)
    },
  )
})

describe('listeners', () => {
  const uses = async (tp: Pick<AnyTurnpike, 'limiter'>): Promise<void> =>
    void (await tp.limiter('used', { limit: 50, window: '1m' }).consume('ann'))

  it('that unsubscribe twice remove no other listener', async () => {
    await using tp = turnpike({ store: testStore() })
    let count = 0
    const leave = tp.on('decision', () => {})
    leave()
    tp.on('decision', () => count++)
    leave()
    await uses(tp)
    expect(count).toBe(1)
  })

  it('that subscribed twice are called twice, and once after one has left', async () => {
    await using tp = turnpike({ store: testStore() })
    let count = 0
    const listener = (): void => void count++
    const leave = tp.on('decision', listener)
    tp.on('decision', listener)
    await uses(tp)
    expect(count).toBe(2)
    leave()
    await uses(tp)
    expect(count).toBe(3)
  })

  it('may unsubscribe while they are called', async () => {
    await using tp = turnpike({ store: testStore() })
    const called: string[] = []
    const leave = tp.on('decision', () => {
      called.push('first')
      leave()
    })
    tp.on('decision', () => called.push('second'))
    await uses(tp)
    await uses(tp)
    expect(called).toEqual(['first', 'second', 'second'])
  })

  it.each([
    ['a listener', 'decision', undefined, 'listener'],
    ['a listener that can be called', 'decision', {}, 'listener'],
    ['a name', undefined, () => {}, 'name'],
  ])('must have %s', (_what, name, listener, option) => {
    const tp = turnpike({ store: testStore() })
    expect(() => tp.on(name as never, listener as never)).toThrow(
      expect.objectContaining({ code: 'TP_OPTION', option }),
    )
  })
})

describe('events of the connection', () => {
  it('are breaker and replaced', async () => {
    await using tp = turnpike({ redis: server.url })
    const { emitted, published } = collect(tp)
    const limiter = tp.limiter('outage', { limit: 1000, window: '1m' })
    await tp.ready()
    await until('it counts', async () => (await limiter.consume('ann')).source === 'store')
    server.freeze()
    await until('the connection is replaced', async () => {
      await limiter.consume('ann')
      return emitted.replaced.length > 0 && emitted.breaker.length > 0
    })
    server.thaw()
    await until('the breaker closes', () => emitted.breaker.at(-1)?.state === 'closed')
    expect(emitted.breaker[0]).toEqual({
      store: 'redis',
      state: 'open',
      reason: expect.any(String),
    })
    expect(published['breaker']).toEqual(emitted.breaker)
    expect(published['replaced']).toEqual(emitted.replaced)
  })
})

describe('a listener that throws', () => {
  const script = (listen: string): string => `
    import { turnpike } from 'turnpike/node'
    import { channel } from 'node:diagnostics_channel'
    const caught = []
    process.on('uncaughtException', (error) => caught.push(error.message))
    const tp = turnpike({ redis: 'memory' })
    let count = 0
    ${listen}
    tp.on('decision', () => count++)
    const limiter = tp.limiter('thrown', { limit: 2, window: '1m' })
    const allowed = []
    for (let i = 0; i < 3; i++) allowed.push((await limiter.consume('ann')).allowed)
    await new Promise((resolve) => setImmediate(resolve))
    console.log(JSON.stringify({ allowed, count, caught }))`

  it.each([
    ['a listener', `tp.on('decision', () => { throw new Error('mine') })`],
    ['a subscriber', `channel('turnpike:decision').subscribe(() => { throw new Error('mine') })`],
  ])(
    'changes no decision and stops no other listener, and its error surfaces (%s)',
    async (_name, listen) => {
      const { stdout, code } = await runScript(script(listen))
      expect(JSON.parse(stdout)).toEqual({
        allowed: [true, true, false],
        count: 3,
        caught: ['mine', 'mine', 'mine'],
      })
      expect(code).toBe(0)
    },
  )
})

describe('DEBUG', () => {
  const used = `
    import { turnpike } from 'turnpike/node'
    const tp = turnpike({ redis: 'memory' })
    const limiter = tp.limiter('debugged', { limit: 2, window: '1m' })
    for (let i = 0; i < 3; i++) await limiter.consume('ann\\nturnpike:decision forged')`

  const lines = (text: string): string[] =>
    text.split('\n').filter((line) => line.includes('turnpike:decision'))

  it.each(['turnpike:*', 'turnpike:decision', 'express:*,turnpike:*', '*'])(
    '=%s prints one line a decision',
    async (DEBUG) => {
      const { stderr, stdout } = await runScript(used, { env: { DEBUG } })
      expect(lines(stderr)).toHaveLength(3)
      for (const line of lines(stderr))
        expect(line).toMatch(/^\d{4}-[\d-]+T[\d:.]+Z turnpike:decision \{.*name: 'debugged'.*\}$/)
      expect(lines(stderr).map((line) => /allowed: (\w+)/.exec(line)![1])).toEqual([
        'true',
        'true',
        'false',
      ])
      expect(stdout).toBe('')
    },
  )

  it('=turnpike:decision(name) prints the events of one mount', async () => {
    const DEBUG = 'turnpike:decision(debugged)'
    expect(lines((await runScript(used, { env: { DEBUG } })).stderr)).toHaveLength(3)
    const other = { DEBUG: 'turnpike:decision(other)' }
    expect(lines((await runScript(used, { env: other })).stderr)).toEqual([])
  })

  it('DEBUG_FORMAT=json prints lines of JSON', async () => {
    const env = { DEBUG: 'turnpike:decision', DEBUG_FORMAT: 'json' }
    const printed = lines((await runScript(used, { env })).stderr).map((line) => JSON.parse(line))
    expect(printed.map(({ allowed }) => allowed)).toEqual([true, true, false])
    expect(printed[0]).toMatchObject({
      time: expect.stringMatching(/Z$/),
      event: 'turnpike:decision',
      name: 'debugged',
      ms: expect.any(Number),
    })
  })

  it.each(['', 'express:*', 'turnpike:breaker', 'notturnpike:*'])(
    '=%s prints no line',
    async (DEBUG) => {
      expect(lines((await runScript(used, { env: { DEBUG } })).stderr)).toEqual([])
    },
  )
})

describe('a secret', () => {
  const SECRETS = {
    key: 'sk_live_4242424242',
    email: 'ann.secret@example.org',
    password: 'correct-horse',
    cookie: 'sid=top-secret',
    redis: 'redis-password',
  }

  /** Expects none of them, as it is or as a key contains it. */
  function expectNoSecret(text: string): void {
    for (const secret of Object.values(SECRETS)) {
      expect(text).not.toContain(secret)
      expect(text).not.toContain(secret.replaceAll('=', '%3d'))
      expect(text).not.toContain(Buffer.from(secret).toString('base64').slice(0, 12))
    }
  }

  it.each([express5, koa3])(
    'is in no event of a guarded login, refused or not, with Redis or without ($name)',
    async (framework) => {
      const app = await framework.serve({
        options: { redis: server.url, commandTimeout: 200 },
        routes: (tp) => ({
          '/login': tp.loginGuard({ limit: 2, key: ({ headers }: any) => headers['x-email'] }),
          '/api': tp.rateLimit({ limit: 2, window: '1m', fail: 'closed' }),
        }),
      })
      await app.tp.ready()
      const { emitted, published } = collect(app.tp)
      const headers = {
        'x-email': SECRETS.email,
        authorization: `Bearer ${SECRETS.key}`,
        'x-api-key': SECRETS.key,
        'x-password': SECRETS.password,
        cookie: SECRETS.cookie,
      }
      const round = async (): Promise<void> => {
        for (let i = 0; i < 4; i++) {
          await app.get('/login', { ...headers, 'x-status': '401' })
          await app.get('/api?token=correct-horse', headers)
        }
        await app.get('/login', { ...headers, 'x-email': `${SECRETS.email}.other` })
      }
      await round()
      server.freeze()
      await round()
      expect(emitted.decision.length).toBeGreaterThan(10)
      expect(emitted.unavailable.length).toBeGreaterThan(0)
      const all = inspect([emitted, published, app.errors, app.tp.status()], {
        depth: Infinity,
        showHidden: true,
        maxArrayLength: Infinity,
      })
      expectNoSecret(all)
    },
  )

  it('is in no line of DEBUG', async () => {
    const { stderr, code } = await runScript(
      `import { turnpike } from 'turnpike/node'
       import { createServer } from 'node:http'
       const tp = turnpike({ redis: process.env.URL, commandTimeout: 200 })
       const login = tp.loginGuard({ limit: 1, key: (req) => req.headers['x-email'] })
       const app = createServer((req, res) => login(req, res, () => { res.statusCode = 401; res.end() }))
       await new Promise((resolve) => app.listen(0, '127.0.0.1', resolve))
       const headers = { 'x-email': '${SECRETS.email}', authorization: '${SECRETS.key}', 'x-password': '${SECRETS.password}' }
       for (let i = 0; i < 3; i++) await fetch('http://127.0.0.1:' + app.address().port, { headers })
       app.close()
       app.closeAllConnections()
       await tp.close()`,
      { env: { DEBUG: 'turnpike:*', URL: `redis://user:${SECRETS.redis}@127.0.0.1:1` } },
    )
    expect(code).toBe(0)
    expect(stderr).toContain('turnpike:decision')
    expect(stderr).toContain('turnpike:unavailable')
    expectNoSecret(stderr)
  })

  it('is in no error that a write in the background reports', async () => {
    await using own = await startRedis()
    const app = await express5.serve({
      options: { redis: own.url, commandTimeout: 500 },
      routes: (tp) => ({
        '/': tp.rateLimit({
          limit: 10,
          window: '1m',
          skipSuccessful: true,
          key: ({ headers }: any) => headers['x-email'],
        }),
      }),
    })
    await app.tp.ready()
    const { emitted } = collect(app.tp)
    let frozen = false
    app.tp.on('decision', () => {
      if (!frozen) own.freeze()
      frozen = true
    })
    await app.get('/', { 'x-email': 'ann' })
    await until('the refund fails', () => emitted.error.length > 0)
    expect(emitted.error[0]).toMatchObject({
      feature: 'rateLimit',
      error: { code: 'TP_UNAVAILABLE' },
    })
    expect(inspect(emitted.error, { depth: Infinity, showHidden: true })).not.toMatch(
      /args|limit:\{/,
    )
    own.thaw()
  })
})

describe('warnings', () => {
  it('that contain what a client sent are bounded', () => {
    const events = new EventBus('')
    const messages: string[] = []
    const emitted = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    onTestFinished(() => emitted.mockRestore())
    events.on('warning', ({ message }) => messages.push(message))
    for (let i = 0; i < 1000; i++) events.warn(`The address ${i} is odd.`)
    expect(messages).toHaveLength(200)
    expect(emitted).toHaveBeenCalledTimes(200)
    expect(messages[198]).toBe('The address 198 is odd.')
    expect(messages[199]).toBe(
      'The address 199 is odd. This is the last warning: there were too many.',
    )
  })
})

describe('a warning', () => {
  it('is reported once, as an event and by the process', async () => {
    const { stderr } = await runScript(
      `import { turnpike } from 'turnpike/node'
       const tp = turnpike({ redis: process.env.URL })
       let count = 0
       tp.on('warning', () => count++)
       const limiter = tp.limiter('warned', { limit: 5, window: '1m' })
       while (count === 0) await limiter.consume('ann')
       await new Promise((resolve) => setTimeout(resolve, 500))
       console.error('count', count)
       await tp.close()`,
      { env: { URL: server.url.replace('//', '//nobody:wrong@') } },
    )
    expect(stderr).toContain('count 1\n')
    expect(stderr.match(/TurnpikeWarning/g)).toHaveLength(1)
  })
})
