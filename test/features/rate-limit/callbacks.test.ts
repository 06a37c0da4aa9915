/** What the functions of an application may do: return anything, throw, reject. */
import { describe, expect, test, vi } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import { testStore } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'

const NO_AMOUNT = [-1, 0.5, Number.NaN, -Infinity, '5', null, undefined, true, {}, [5], 5n, 1e13]

describe.each(apps)('$name', ({ start }) => {
  /** An application with one limit, which counts how often its handler runs. */
  function limited(options: object) {
    const errors: any[] = []
    let handled = 0
    const app = start({
      options: { store: testStore() },
      mount: (tp) => {
        tp.on('error', (event: unknown) => errors.push(event))
        return [tp.rateLimit({ name: 'l', limit: 1, window: '1m', ...options })]
      },
      handle() {
        handled++
        return [200, 'ok']
      },
    })
    return { app, events: errors, handled: () => handled }
  }

  test.each([
    ['limit', NO_AMOUNT],
    ['cost', [...NO_AMOUNT, Infinity]],
    ['window', [0, -1, Number.NaN, Infinity, '15 minutes', 'month', '0s', null, undefined, 4e10]],
  ])(
    'a %s that a function returns, and that is none, lets no request pass',
    async (option, all) => {
      for (const [i, value] of all.entries()) {
        const { app, handled } = limited({ [option]: () => value })
        const { status } = await app.get()
        expect([status, handled()], `value ${i}`).toEqual([500, 0])
        expect(app.errors[0]).toMatchObject({ code: 'TP_VALUE' })
      }
    },
  )

  test.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('no database')
      },
    ],
    ['rejects', () => Promise.reject(new Error('no database'))],
  ])(
    'onLimited that %s does not change the response, and is reported',
    async (_what, onLimited) => {
      const { app, events } = limited({ onLimited })
      expect([(await app.get()).status, (await app.get()).status]).toEqual([200, 429])
      await vi.waitFor(() =>
        expect(events).toEqual([
          {
            feature: 'rateLimit',
            name: 'l',
            error: expect.objectContaining({ message: 'no database' }),
          },
        ]),
      )
    },
  )

  test.each([
    ['skip', { skip: () => Promise.reject(new Error('no database')) }],
    ['key', { key: () => Promise.reject(new Error('no database')) }],
    ['limit', { limit: () => Promise.reject(new Error('no database')) }],
  ])('a %s that rejects fails the request', async (_option, options) => {
    const { app, handled } = limited(options)
    expect((await app.get()).status).toBe(500)
    expect(handled()).toBe(0)
    expect(app.errors[0]).toMatchObject({ message: 'no database' })
  })

  test('attack: an async outcome of a login guard is awaited, so that wrong passwords count', async () => {
    let handled = 0
    const app = start({
      options: { store: testStore() },
      mount: (tp) => [
        tp.loginGuard({
          key: () => 'ann',
          outcome: async (_native: unknown, status: number) => status === 200,
        }),
      ],
      handle(native) {
        handled++
        return [native.headers['x-password'] === 'right' ? 200 : 401, '']
      },
    })
    for (let i = 0; i < 4; i++) await app.post('/')
    expect((await app.post('/', { 'x-password': 'right' })).status).toBe(200)
    for (let i = 0; i < 8; i++) await app.post('/')
    expect(handled).toBe(4 + 1 + 5)
  })
})

describe('counts of one subject are kept apart', () => {
  test.each([
    ['api.v1', 'minute', 'api', 'v1.minute'],
    ['a.', 'b', 'a', '.b'],
    ['a', 'a.a', 'a.a', 'a'],
  ])('limiter %s, policy %s, and limiter %s, policy %s', async (...names) => {
    const tp = turnpike({ store: testStore() })
    const [one, two] = [0, 2].map((i) =>
      tp.limiter(names[i]!, {
        policies: [
          { name: names[i + 1]!, limit: 1, window: '1m' },
          { name: 'other', limit: 9, window: '1h' },
        ],
      }),
    )
    expect((await one!.consume('ann')).allowed).toBe(true)
    expect((await two!.consume('ann')).allowed).toBe(true)
    expect((await one!.consume('ann')).allowed).toBe(false)
  })

  test.each(['address', 'pair'])(
    'a login guard, and a limit of its name with policy %s',
    async (name) => {
      const [express] = apps
      const app = express!.start({
        options: { store: testStore() },
        mount: (own) => [
          own.rateLimit({ name: 'login', policies: [{ name, limit: 3, window: '15m' }] }),
          own.loginGuard({ key: () => 'ann', addressLimit: 3 }),
        ],
        handle: () => [401, 'no'],
      })
      const statuses = []
      for (let i = 0; i < 4; i++) statuses.push((await app.post('/')).status)
      expect(statuses).toEqual([401, 401, 401, 429])
    },
  )
})
