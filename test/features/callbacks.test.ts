/** What applications' callbacks return beside values and promises, for every feature that has one. */
import { describe, expect, test } from 'vitest'
import { testStore } from '../../src/testing.ts'
import { apps } from '../support/apps.ts'

/** Result of a query builder: its `then` starts the query, and returns nothing. */
class Query {
  runs = 0
  readonly #value: unknown

  constructor(value: unknown) {
    this.#value = value
  }

  then(resolve: (value: unknown) => void): void {
    this.runs++
    setImmediate(resolve, this.#value)
  }
}

type Callback = () => unknown

/** Each callback of a mount, and a value that it may return. */
const CALLBACKS: [name: string, value: unknown, mount: (tp: any, callback: Callback) => unknown][] =
  [
    ['key of a limit', 'ann', (tp, key) => tp.rateLimit({ limit: 9, window: '1m', key })],
    ['limit of a limit', 9, (tp, limit) => tp.rateLimit({ limit, window: '1m' })],
    ['cost of a limit', 1, (tp, cost) => tp.rateLimit({ limit: 9, window: '1m', cost })],
    ['skip of a limit', true, (tp, skip) => tp.rateLimit({ limit: 0, window: '1m', skip })],
    ['key of a login guard', 'ann', (tp, key) => tp.loginGuard({ key, limit: 9 })],
    ['scope of a cache', 'ann', (tp, scope) => tp.cache({ ttl: '1m', scope })],
    ['tags of a cache', ['news'], (tp, tags) => tp.cache({ ttl: '1m', tags })],
    ['skip of a cache', true, (tp, skip) => tp.cache({ ttl: '1m', skip })],
    ['tags of an invalidation', ['news'], (tp, tags) => tp.invalidate({ tags, when: () => true })],
    ['key of idempotency', 'k', (tp, key) => tp.idempotency({ ...all, key })],
    [
      'scope of idempotency',
      'ann',
      (tp, scope) => tp.idempotency({ ...all, key: () => 'k', scope }),
    ],
    ['skip of idempotency', true, (tp, skip) => tp.idempotency({ ...all, key: () => 'k', skip })],
    ['key of exclusive', 'ann', (tp, key) => tp.exclusive({ key })],
    ['key of concurrency', 'ann', (tp, key) => tp.concurrency({ limit: 9, key })],
    ['skip of a session', false, (tp, skip) => tp.session({ ...session, skip })],
  ]
const all = { methods: ['GET'], scope: () => 'everybody' }
const session = { secret: 's'.repeat(32), cookie: { secure: false } }

describe.each(apps)('$name', ({ name: framework, start }) => {
  const serve = (mount: (tp: any) => unknown): ReturnType<typeof start> =>
    start({
      options: { store: testStore(), logger: false },
      mount: (tp) => [mount(tp)],
      handle: (native) => [
        200,
        native.session === undefined ? 'ok' : { x: (native.session.x = 1) },
      ],
    })

  test.each(CALLBACKS)(
    'a query that is no promise is awaited, once: %s',
    async (_what, value, mount) => {
      const queries: Query[] = []
      const app = serve((tp) =>
        mount(tp, () => {
          const query = new Query(value)
          queries.push(query)
          return query
        }),
      )
      expect((await app.get()).status).toBe(200)
      expect(queries.map(({ runs }) => runs)).toEqual([1])
    },
  )

  test.each(CALLBACKS)(
    'a rejection without a reason fails the request: %s',
    async (_what, _value, mount) => {
      const app = serve((tp) => mount(tp, () => Promise.reject()))
      expect((await app.get()).status).toBe(500)
      // Koa itself would leave a request unanswered whose error is undefined.
      if (framework !== 'node:http') expect(app.errors[0]).toBeInstanceOf(Error)
    },
  )

  test('a query that is no promise is awaited: reply of a refusal', async () => {
    const reply = (): Query => new Query({ status: 418, body: 'full' })
    const app = serve((tp) => tp.rateLimit({ limit: 0, window: '1m', reply }))
    const { status, text } = await app.get()
    expect([status, text]).toEqual([418, 'full'])
  })

  test.each([
    ['undefined', () => undefined],
    ['an empty string', () => ''],
    ['a lone surrogate', () => '\uD800'],
    ['a promise', async () => 'id'],
    ['a promise that is rejected', () => Promise.reject(new Error('no database'))],
  ])(
    'genid and user of a session that return %s fail the request, and only it',
    async (what, callback) => {
      const unheard: unknown[] = []
      const note = (error: unknown): void => void unheard.push(error)
      process.on('unhandledRejection', note)
      const isUser = what.startsWith('a promise')
      for (const option of isUser ? ['genid', 'user'] : ['genid']) {
        const app = serve((tp) => tp.session({ ...session, [option]: callback }))
        expect((await app.get()).status).toBe(500)
        if (framework !== 'node:http') expect(app.errors[0]).toMatchObject({ code: 'TP_VALUE' })
      }
      await new Promise(setImmediate)
      process.off('unhandledRejection', note)
      expect(unheard).toEqual([])
    },
  )
})
