/** Mistakes of users: each message says what is wrong, and what to write. */
import { describe, expect, it, test, vi } from 'vitest'
import { counters } from '../../src/collections.ts'
import { turnpike as forExpress } from '../../src/express.ts'
import { jobs } from '../../src/jobs.ts'
import { turnpike as forKoa } from '../../src/koa.ts'
import { turnpike } from '../../src/node.ts'
import { testStore } from '../../src/testing.ts'
import { express4App, express5, koa3, type AnyTurnpike } from '../support/serve.ts'

const frameworks = [express4App, express5, koa3]

/** Returns the message of what a call throws or rejects with. */
async function messageOf(call: () => unknown): Promise<string> {
  try {
    await call()
  } catch (error) {
    expect(error).toMatchObject({ code: 'TP_OPTION' })
    return (error as Error).message
  }
  throw new Error('it was accepted')
}

/** Runs a call without its types, as JavaScript does. */
const untyped = (tp: unknown): any => tp

describe.each(frameworks)('a middleware that is mounted without a call, $name', ({ serve }) => {
  it.each<[string, (tp: any) => unknown]>([
    ['tp.rateLimit', (tp) => tp.rateLimit],
    ['tp.loginGuard', (tp) => tp.loginGuard],
    ['tp.session', (tp) => tp.session],
    ['tp.session.require', (tp) => tp.session.require],
    ['tp.cache', (tp) => tp.cache],
    ['tp.invalidate', (tp) => tp.invalidate],
    ['tp.idempotency', (tp) => tp.idempotency],
    ['tp.exclusive', (tp) => tp.exclusive],
    ['tp.concurrency', (tp) => tp.concurrency],
    ['tp.health', (tp) => tp.health],
    ['tp.metrics', (tp) => tp.metrics],
    ['tp.dashboard', (tp) => tp.dashboard],
    ['tp.gate', (tp) => tp.gate],
    ['tp.ban', (tp) => tp.ban],
  ])('%s says how to call it, and refuses the request', async (call, middlewareOf) => {
    const app = await serve({
      options: { store: testStore() },
      routes: (tp) => ({ '/': middlewareOf(tp) }),
    })
    expect((await app.get('/')).status).toBe(500)
    expect(app.errors).toMatchObject([
      {
        code: 'TP_OPTION',
        message: `${call}(): It got a request instead of options. Call it where you mount it: app.use(${call}({ … })).`,
      },
    ])
  })
})

describe.each(frameworks)('a middleware of another framework, $name', ({ name, serve }) => {
  const isKoa = name.startsWith('Koa')
  const other = (isKoa ? forExpress : forKoa)({ store: testStore() }) as AnyTurnpike
  const limit = other.rateLimit({ limit: 5, window: '1m' })

  it.each([
    ['alone', limit],
    ['in a pipeline', other.pipeline(limit)],
  ])('%s is refused, and the message names the entry to import', async (_, middleware) => {
    const app = await serve({
      options: { store: testStore() },
      routes: () => ({ '/': middleware }),
    })
    expect((await app.get('/')).status).toBe(500)
    const entry = isKoa ? "turnpike from 'turnpike/koa'" : "turnpike from 'turnpike/express'"
    expect(app.errors).toMatchObject([
      { code: 'TP_OPTION', message: expect.stringContaining(entry) },
    ])
  })
})

test.each(frameworks)(
  'tp.session.require() in front of tp.session() warns of the order, $name',
  async ({ serve }) => {
    const warnings: string[] = []
    const app = await serve({
      options: { store: testStore() },
      routes(tp) {
        tp.on('warning', ({ message }) => warnings.push(message))
        const session = tp.session({ secret: 'a secret of this test' })
        const guard = tp.session.require()
        return { '/wrong': guard, '/right': tp.pipeline(session, guard) }
      },
    })
    expect((await app.get('/right')).status).toBe(401)
    expect(warnings).toEqual([])
    expect((await app.get('/wrong')).status).toBe(401)
    expect(warnings).toEqual([expect.stringContaining('Mount tp.session() in front')])
  },
)

test.each(frameworks)(
  'tp.session.require() does not warn where another middleware sets the user, $name',
  async ({ serve }) => {
    const warned = vi.fn()
    const app = await serve({
      options: { store: testStore() },
      routes(tp) {
        tp.on('warning', warned)
        return { '/': tp.session.require() }
      },
    })
    expect((await app.get('/')).status).toBe(401)
    expect(warned).not.toHaveBeenCalled()
  },
)

describe('a call', () => {
  const tp = untyped(turnpike({ store: testStore() }))
  const work = async (): Promise<void> => {}

  it.each<[string, () => unknown, string]>([
    [
      'tp.lock(name, work)',
      () => tp.lock('a', work),
      'tp.lock(): The second argument is missing. Write tp.lock(name, { … }, work).',
    ],
    [
      'tp.lock.all(names, work)',
      () => tp.lock.all(['a'], work),
      'tp.lock.all(): The second argument is missing. Write tp.lock.all(name, { … }, work).',
    ],
    [
      'tp.once(key, work)',
      () => tp.once('a', work),
      "tp.once(): The second argument is missing. Write tp.once(name, '1h', work).",
    ],
    [
      'tp.lock(name)',
      () => tp.lock('a'),
      'tp.lock(): work must be a function, as the last argument. It is undefined.',
    ],
    [
      'tp.pipeline([a, b])',
      () => tp.pipeline([work]),
      'pipeline: member 1 is a list, not a function. Pass the middlewares one by one: tp.pipeline(a, b).',
    ],
    [
      'an extension without an instance',
      () => counters({} as never, 'views'),
      'turnpike/collections: the first argument must be an instance that turnpike() returned. It is an object. Both must come from the same major version of the package.',
    ],
    [
      'jobs() without an instance',
      () => jobs(undefined as never),
      'turnpike/jobs: the first argument must be an instance that turnpike() returned. It is undefined. Both must come from the same major version of the package.',
    ],
    [
      'lease of a lock by its old name',
      () => tp.lock('a', { ttl: '1s' }, work),
      'Did you mean lease?',
    ],
    ['a mode cut short', () => tp.control.mode('api', 'of', {}), "Did you mean 'off'?"],
    ['a header of idempotency', () => tp.idempotency({ headerName: 'x' }), 'Did you mean header?'],
  ])('%s says what to write', async (_, call, expected) => {
    expect(await messageOf(call)).toContain(expected)
  })

  it.each<[unknown, string]>([
    ['', 'it is an empty string.'],
    [' ', 'it is an empty string.'],
    ['Memory', "Did you mean 'memory'?"],
    [6379, "it is a number. Did you mean 'redis://localhost:6379'?"],
    [true, 'it is a boolean.'],
  ])('turnpike({ redis: %j }) says what to write', async (redis, expected) => {
    expect(await messageOf(() => turnpike({ redis } as never))).toContain(expected)
  })

  it.each(['redisUrl', 'url', 'client', 'redisClient', 'connection'])(
    'turnpike({ %s }) asks for redis',
    async (option) => {
      const message = await messageOf(() => turnpike({ [option]: 'redis://localhost' }))
      expect(message).toBe(`turnpike(): there is no option ${option}. Did you mean redis?`)
    },
  )
})

describe('tp.on()', () => {
  function warningsOf(name: string): string[] {
    const warnings: string[] = []
    const tp = turnpike({ store: testStore() })
    tp.on('warning', ({ message }) => warnings.push(message))
    tp.on(name as never, () => {})
    return warnings
  }

  it('warns of a name that is nearly that of an event', () => {
    expect(warningsOf('desicion')).toEqual([
      "tp.on(): turnpike has no event 'desicion'. Did you mean 'decision'?",
    ])
  })

  it('does not warn of an event of an extension', () => {
    expect(warningsOf('maintenance')).toEqual([])
  })
})

test('a key that a middleware without `skip` cannot use is not said to be skipped', async () => {
  const app = await express5.serve({
    options: { store: testStore() },
    routes: (tp) => ({
      '/exclusive': tp.exclusive({ key: (() => undefined) as never }),
      '/limit': tp.rateLimit({ limit: 1, window: '1m', key: () => undefined }),
    }),
  })
  await app.get('/exclusive')
  await app.get('/limit')
  expect(app.errors.map((error) => (error as Error).message.includes('`skip`'))).toEqual([
    false,
    true,
  ])
})
