/** A hole in a list is `undefined`. Methods of arrays skip it, so that a check would not see it. */
import { describe, expect, it, onTestFinished } from 'vitest'
import { channels, sse } from '../../src/realtime.ts'
import { turnpike } from '../../src/node.ts'
import { testStore } from '../../src/testing.ts'
import { apps } from '../support/apps.ts'
import { openEvents } from '../extensions/realtime/event-source.ts'

const SECRET = 'a secret of at least 32 characters'

/** Returns the list with a hole at its end. */
function sparse<Item>(...list: Item[]): any {
  list.length++
  return list
}

type Tp = ReturnType<typeof turnpike>
const OPTIONS: Record<string, (tp: Tp) => unknown> = {
  'tags of tp.cache()': (tp) => tp.cache({ ttl: '1m', tags: sparse('a') }),
  'vary of tp.cache()': (tp) => tp.cache({ ttl: '1m', vary: sparse('accept') }),
  'query.allow of tp.cache()': (tp) => tp.cache({ ttl: '1m', query: { allow: sparse('page') } }),
  'purge of tp.invalidate()': (tp) => tp.invalidate({ purge: sparse('/a') }),
  'tags of tp.invalidate()': (tp) => tp.invalidate({ tags: sparse('a') }),
  'methods of tp.idempotency()': (tp) => tp.idempotency({ methods: sparse('POST') }),
  'policies of tp.rateLimit()': (tp) =>
    tp.rateLimit({ policies: sparse({ limit: 1, window: '1m' }) }),
  'secret of tp.session()': (tp) => tp.session({ secret: sparse(SECRET) }),
  'name of tp.session()': (tp) => tp.session({ secret: SECRET, name: sparse('sid') }),
  'statuses of tp.ban()': (tp) =>
    tp.ban({ name: 'b', statuses: sparse(404), limit: 1, window: '1m', for: '1h' }),
  'services of tp.health()': (tp) => tp.health({ services: sparse('mail') }),
  'nodes of a Cluster': () => turnpike({ redis: { cluster: sparse({ host: 'a', port: 1 }) } }),
}

describe('a list with a hole is no list of the right kind', () => {
  it.each(Object.keys(OPTIONS))('%s', (name) => {
    const tp = turnpike({ store: testStore() })
    onTestFinished(() => tp.close())
    expect(() => OPTIONS[name]!(tp)).toThrow(expect.objectContaining({ code: 'TP_OPTION' }))
  })
})

it('a name, a key or a list of tags with a hole is an error, and nothing is shared under it', async () => {
  const tp = turnpike({ store: testStore() })
  onTestFinished(() => tp.close())
  const work = (): Promise<void> => Promise.resolve()
  const calls: Record<string, () => Promise<unknown>> = {
    TP_KEY: () => tp.lock(sparse('a'), {}, work),
    'TP_KEY of all': () => tp.lock.all(sparse('a'), {}, work),
    'TP_KEY of an inner name': () => tp.lock.all([sparse('a')], {}, work),
    'TP_KEY of a semaphore': async () => await tp.semaphore(sparse('a'), { limit: 1 }).acquire(),
    'TP_KEY of a cache key': () => tp.cache.purge({ key: sparse('a') }),
    'TP_OPTION of keys': () => tp.data.getMany(sparse('a')),
    'TP_OPTION of no list': () => tp.data.getMany('abc' as never),
    'TP_OPTION of no values': () => tp.data.setMany(null as never),
    'TP_OPTION of tags': () => tp.data.set('a', 1, { ttl: '1m', tags: sparse('a') }),
    'TP_OPTION of maintenance': () =>
      tp.control.maintenance({ allow: sparse('10.0.0.1') }, { by: 'ann', reason: 'test' }),
  }
  for (const [expected, call] of Object.entries(calls)) {
    const error = await Promise.resolve()
      .then(call)
      .catch((thrown: unknown) => thrown)
    expect(error, expected).toMatchObject({ code: expected.split(' ', 1)[0] })
  }
})

it.each(apps)(
  '$name: a request whose key, scope or topics have a hole is refused',
  async (kind) => {
    let runs = 0
    const app = kind.start({
      options: { store: testStore() },
      mount(tp) {
        const stream = sse(channels(tp), { topics: () => sparse('a') })
        const routes: [string, any][] = [
          ['/topics', stream],
          ['/cache', tp.cache({ ttl: '1m', key: () => sparse('a') })],
          ['/scope', tp.idempotency({ scope: () => sparse('a') })],
          ['/key', tp.idempotency({ key: () => sparse('a') })],
          ['/limit', tp.rateLimit({ limit: 1, window: '1m', key: () => sparse('a') })],
          ['/lock', tp.exclusive({ key: () => sparse('a') })],
        ]
        return routes.map(([path, middleware]) => (native: any, second: any, third: any) => {
          if (third === undefined)
            return native.url === path ? middleware(native, second) : second()
          return native.url === path ? middleware(native, second, third) : third()
        })
      },
      handle: () => [200, `run ${++runs}`],
    })
    onTestFinished(() => app.tp.close())
    expect((await openEvents(app.server, '/topics')).status).toBe(400)
    const headers = { 'idempotency-key': 'k', 'content-length': '0' }
    for (const path of ['/cache', '/limit', '/lock'])
      expect((await app.get(path)).status, path).toBe(500)
    expect((await app.post('/scope', headers)).status).toBe(500)
    expect((await app.post('/key', headers)).status).toBe(400)
    expect(runs).toBe(0)
  },
)
