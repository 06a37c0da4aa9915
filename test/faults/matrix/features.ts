/** The features as an application uses them, and what each must never do under any fault. */
import { expect } from 'vitest'
import { until } from '../../support/until.ts'
import { counterSums, leaderboardScore } from './collections.ts'
import { always, fails, type Feature, type Rule, type Subject } from './feature.ts'
import { featureFlag } from './flags.ts'
import { job } from './jobs.ts'
import { nearSession } from './near-session.ts'
import { channel, eventStream, inboxes } from './realtime.ts'
import type { AnyTurnpike, Ask } from './site.ts'
import { apiKey, oneTimeToken, refreshToken } from './tokens.ts'

const MANY = 1_000_000
/** Time within which a write that timed out is repaired, in ms. */
const SETTLED = 3000

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** A limit. Redis counts every admitted request, and at most the uncertain ones besides. */
function counting(
  name: string,
  status: number,
  rule: Rule,
  mount: (tp: AnyTurnpike) => unknown,
): Feature {
  return {
    name,
    open({ tp, site, fault: { delivers, forgets } }) {
      let [counted, doubtful, used, source] = [0, 0, 0, '']
      tp.on('decision', (decision) => {
        ;({ source } = decision)
        if (source !== 'store') return
        counted++
        used = MANY - decision.remaining!
      })
      tp.on('unavailable', ({ uncertain }) => uncertain && doubtful++)
      const path = `/${name.replaceAll(/\W+/g, '-')}`
      site.serve(path, [mount(tp)], () => [status, 'ok'])
      const next = (): Ask => ({ path })
      return {
        questions: [{ name, rule, waits: 'once', next }],
        probe: { next, usesRedis: () => source === 'store' },
        async expectNoLateEffects(ask) {
          // On a loaded machine a request can miss the timeout and still be counted.
          const untilCounted = (): Promise<unknown> =>
            until(`${name} is counted`, async () => {
              await ask(next())
              return source === 'store'
            })
          await untilCounted()
          expect(used).toBeLessThanOrEqual(counted + doubtful)
          if (!forgets) expect(used).toBeGreaterThanOrEqual(counted)
          // A command that was sent counts when it arrives. After the return nothing is sent again.
          await pause(delivers ? 300 : 0)
          await untilCounted()
          const [before, doubtfulBefore] = [used, doubtful]
          await pause(200)
          await untilCounted()
          expect(used).toBeGreaterThanOrEqual(before + 1)
          expect(used).toBeLessThanOrEqual(before + 1 + doubtful - doubtfulBefore)
        },
      }
    },
  }
}

const limiter = counting('limiter', 200, always(200), (tp) =>
  tp.rateLimit({ name: 'l', limit: MANY, window: '1h' }),
)

const closedLimiter = counting("limiter, fail: 'closed'", 200, fails(503), (tp) =>
  tp.rateLimit({ name: 'c', limit: MANY, window: '1h', fail: 'closed' }),
)

/** Redis leases at most so many units of a limit of 6,400. */
const SHARE = 100

/** A limit with leases. Between two decisions of Redis no more is admitted than it has leased. */
const leasedLimiter: Feature = {
  name: "limiter, lease, fail: 'closed'",
  open({ tp, site }) {
    let [source, leased] = ['', 0]
    tp.on('decision', (decision) => {
      ;({ source } = decision)
      if (source === 'lease') leased++
      if (source === 'store') leased = 0
    })
    const options = { limit: 6_400, window: '1h', lease: { for: '200ms' }, fail: 'closed' } as const
    site.serve('/leased', [tp.rateLimit({ name: 'leased', ...options })], () => [200, 'ok'])
    const next = (): Ask => ({ path: '/leased' })
    const held = [200, 503]
    return {
      questions: [
        {
          name: "limiter, lease, fail: 'closed'",
          rule: { ...always(...held), forbidden: [200, 500], garbled: fails(503).garbled },
          waits: 'once',
          next,
        },
      ],
      check: () => expect(leased).toBeLessThanOrEqual(SHARE),
      probe: { next, usesRedis: () => source === 'store' },
    }
  },
}

const loginGuard = counting('loginGuard', 401, always(401), (tp) =>
  tp.loginGuard({ limit: MANY, addressLimit: MANY, window: '1h', key: () => 'ann' }),
)

const session: Feature = {
  name: 'session',
  open({ tp, site, fault: { delivers, forgets } }) {
    const note = ({ session, headers }: any): readonly [number, string] => {
      if (headers['x-note']) session.note = Number(headers['x-note'])
      return [200, String(session.note)]
    }
    site.serve('/session', [tp.session({ secret: 'only for tests' })], note)
    let cookie = ''
    let count = 0
    /** The notes that may be stored: the last acknowledged one, and later ones with an uncertain outcome. */
    let possible = new Set<string>()
    const headers = (): Record<string, string> => (cookie ? { cookie } : {})
    const check: Subject['check'] = (answer, ask) => {
      const [sent] = [answer.headers['set-cookie'] ?? []].flat()
      if (answer.status !== 200) expect(sent).toBeUndefined()
      const note = ask.headers?.['x-note']
      if (note === undefined) return
      if (sent) [cookie = ''] = sent.split(';')
      if (answer.status === 200) possible = new Set([note])
      // Redis refuses a command that arrives after its timeout.
      else if (answer.uncertain && !delivers) possible.add(note)
    }
    const read = (): Ask => ({ path: '/session', headers: headers() })
    const write = (): Ask => ({
      path: '/session',
      headers: { ...headers(), 'x-note': String(++count) },
    })
    return {
      questions: [
        { name: 'session, changed', rule: fails(503), waits: 'twice', next: write },
        {
          name: 'session, read',
          rule: { ...fails(503), reads: [200, 503], forbidden: [200] },
          waits: 'once',
          next: read,
        },
        {
          name: 'session, no cookie',
          rule: { ...always(200), forbidden: [200] },
          waits: 'once',
          next: () => ({ path: '/session' }),
        },
      ],
      probe: { next: read, usesRedis: ({ status }) => status === 200 },
      check,
      async prepare(ask) {
        const elsewhere = site.turnpike({ redis: 'memory' })
        site.serve('/early', [elsewhere.session({ secret: 'only for tests' })], note)
        const ask1 = { path: '/early', headers: { 'x-note': '0' } }
        check(await ask(ask1), ask1)
      },
      async expectNoLateEffects(ask) {
        // On a loaded machine a request can miss the timeout.
        const stored = (): Promise<string> =>
          until('the session is read', async () => {
            const { status, body } = await ask(read())
            return status === 200 ? body : undefined
          })
        const note = await stored()
        if (!forgets) expect([...possible]).toContain(note)
        await pause(300)
        expect(await stored()).toBe(note)
      },
    }
  },
}

const cache: Feature = {
  name: 'cache',
  open({ tp, site }) {
    let count = 0
    site.serve('/cache', [tp.cache({ ttl: '1h' })], (native) => [
      200,
      `page ${native.originalUrl ?? native.url}`,
    ])
    const check: Subject['check'] = ({ status, body }, { path }) =>
      status === 200 && expect(body).toBe(`page ${path}`)
    const hot = (): Ask => ({ path: '/cache/hot' })
    return {
      questions: [
        { name: 'cache', rule: always(200), waits: 'once', next: hot },
        {
          name: 'cache, new page',
          rule: always(200),
          waits: 'once',
          next: () => ({ path: `/cache/${++count}` }),
        },
      ],
      check,
      probe: {
        next: hot,
        usesRedis: ({ headers }) => String(headers['cache-status']).includes('hit'),
      },
    }
  },
}

const invalidation: Feature = {
  name: 'invalidation',
  open({ tp, site, another }) {
    let version = 1
    const options = { ttl: '1h', tags: ['item'], near: true, key: () => 'item' } as const
    const show = (): readonly [number, string] => [200, String(version)]
    site.serve('/item', [tp.cache(options)], show)
    site.serve('/elsewhere', [another().cache(options)], show)
    site.serve('/change', [tp.invalidate({ tags: ['item'] })], () => [200, String(++version)])
    const change = (): Ask => ({ path: '/change', method: 'PUT' })
    return {
      questions: [
        {
          name: 'invalidate',
          rule: fails(503),
          waits: 'once',
          next: change,
        },
        {
          name: 'invalidated page',
          rule: always(200),
          waits: 'once',
          next: () => ({ path: '/item' }),
        },
      ],
      // This holds even if the write failed, because this process remembers it.
      check: ({ status, body }, { path }) =>
        path === '/item' && status === 200 && expect(body).toBe(String(version)),
      probe: { next: change, usesRedis: ({ status }) => status === 200 },
      async expectNoLateEffects(ask) {
        await until(
          'another process sees the last version',
          async () => (await ask({ path: '/elsewhere' })).body === String(version),
          SETTLED,
        )
        expect((await ask({ path: '/item' })).body).toBe(String(version))
      },
    }
  },
}

const idempotency: Feature = {
  name: 'idempotency',
  open({ tp, site, fault: { forgets } }) {
    const runs = new Map<string, number>()
    const refused = new Set<string>()
    const served = new Set<string>()
    let count = 0
    site.serve('/pay', [tp.idempotency({ scope: () => 'me' })], ({ headers }: any) => {
      const key = headers['idempotency-key']
      runs.set(key, (runs.get(key) ?? 0) + 1)
      return [200, key]
    })
    const again = (key: string): Ask => ({
      path: '/pay',
      method: 'POST',
      headers: { 'idempotency-key': key },
    })
    const next = (): Ask => again(`k${++count}`)
    return {
      questions: [
        {
          name: 'idempotency',
          rule: fails(503),
          waits: 'twice',
          next,
        },
      ],
      check({ status }, ask) {
        const key = ask.headers!['idempotency-key']!
        const isDone = status === 200 || served.has(key)
        expect([status, runs.get(key) ?? 0]).toEqual([status, isDone ? 1 : 0])
        ;(isDone ? served : refused).add(key)
      },
      probe: { next, usesRedis: ({ status }) => status === 200 },
      async expectNoLateEffects(ask) {
        const end = performance.now() + SETTLED
        const keys = [...refused, ...(forgets ? [] : served)].slice(-100)
        for (const key of keys)
          await until(
            `the retry of ${key} is answered`,
            async () => (await ask(again(key))).status === 200,
            end - performance.now(),
          )
        for (const key of keys) expect([key, runs.get(key)]).toEqual([key, 1])
      },
    }
  },
}

/** A middleware that admits one request, or a few, at a time. */
function admitting(
  name: string,
  mount: (tp: AnyTurnpike, ttl: '1s' | '30s') => unknown,
  busy: number,
): Feature {
  return {
    name,
    open({ tp, site, fault }) {
      let [runs, inside, answered] = [0, 0, 0]
      // A caller whose permit was granted, but who was refused, cannot release it.
      const ttl = fault.kind === 'garbled' ? '1s' : '30s'
      site.serve(`/${name}`, [mount(tp, ttl)], async () => {
        runs++
        expect(++inside).toBe(1)
        await pause(1)
        inside--
        return [200, 'ok']
      })
      const next = (): Ask => ({ path: `/${name}` })
      // Every handler that ran answers with this status.
      const check: Subject['check'] = ({ status }) =>
        expect(runs).toBe(status === 200 ? ++answered : answered)
      const rule = fails(503)
      return {
        questions: [
          {
            name,
            // Waits until Redis has received the last release.
            rule: {
              ...rule,
              'at times': [...rule['at times'], busy],
            },
            waits: 'once',
            next,
          },
        ],
        check,
        probe: { next, usesRedis: ({ status }) => status === 200 },
        async expectNoLateEffects(ask) {
          // The end of a request may reach Redis after its answer has reached the client.
          const isFree = async (): Promise<boolean> => (await ask(next())).status === 200
          for (let i = 0; i < 5; i++) await until(`${name} is free`, isFree, SETTLED)
          await pause(300)
          // A permit that is taken late is held for its whole lease, which is longer.
          await until(`${name} is still free`, isFree, 500)
        },
      }
    },
  }
}

const lock = admitting('lock', (tp, ttl) => tp.exclusive({ key: 'it', lease: ttl }), 423)
const semaphore = admitting('semaphore', (tp, ttl) => tp.concurrency({ limit: 1, lease: ttl }), 503)

export const features: readonly Feature[] = [
  limiter,
  closedLimiter,
  leasedLimiter,
  loginGuard,
  session,
  nearSession,
  cache,
  invalidation,
  idempotency,
  lock,
  semaphore,
  oneTimeToken,
  refreshToken,
  apiKey,
  channel,
  eventStream,
  inboxes,
  leaderboardScore,
  counterSums,
  featureFlag,
  job,
]
