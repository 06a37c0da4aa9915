/** Near sessions on a real Redis whose messages, connections and permissions fail. */
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { EventBus } from '../../../src/events.ts'
import { manualClock } from '../../../src/clock.ts'
import { RedisStore } from '../../../src/store/redis-store.ts'
import { startRedis, type RedisServer } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { until } from '../../support/until.ts'
import { site, type Browser } from './support.ts'

const [kind] = apps as [(typeof apps)[number]]
let server: RedisServer
beforeAll(async () => void (server = await startRedis()))
afterAll(() => server?.stop())

let count = 0
/** Two processes with the same sessions. Only the first one's connections lead through the proxy. */
async function start(session: object = {}, user = '') {
  const prefix = `near${++count}`
  const proxy = await startFaultProxy(server.port)
  onTestFinished(() => proxy.close())
  const clock = manualClock()
  const open = (url: string): RedisStore => {
    const store = new RedisStore({
      source: url,
      name: 'test',
      commandTimeout: 1000,
      maxInFlight: 5000,
      events: new EventBus(''),
      clock,
    })
    onTestFinished(() => store.close())
    return store
  }
  const of = (url: string) =>
    site(kind, { store: open(url), prefix }, { session: { near: '1m', ...session } })
  const here = of(user === '' ? proxy.url : proxy.url.replace('//', `//${user}@`))
  const elsewhere = of(server.url)
  const commandsOf = async (someone: Browser): Promise<string[]> => {
    proxy.forget()
    await someone.get('/')
    return proxy.traffic.commands.filter((name) => !/^(TIME|INFO|PING)$/.test(name))
  }
  const warm = (someone: Browser): Promise<unknown> =>
    until('a read sends no command', async () => (await commandsOf(someone)).length === 0)
  const as = (someone: Browser): Browser => {
    const other = elsewhere.browser()
    for (const [name, value] of someone.jar) other.jar.set(name, value)
    return other
  }
  return { proxy, clock, here, elsewhere, commandsOf, warm, as }
}

test('a warm read sends Redis no command', async () => {
  const { here, commandsOf, warm } = await start()
  const someone = here.browser()
  await someone.get('/login')
  await warm(someone)
  for (let i = 0; i < 20; i++) expect(await commandsOf(someone)).toEqual([])
})

test('attack: messages are swallowed on the way: a revoked session ends with `near`, and not before', async () => {
  const { proxy, clock, here, elsewhere, warm, as } = await start()
  const someone = here.browser()
  await someone.get('/login')
  await warm(someone)
  proxy.set({ rewrite: (piece) => (piece.includes('session!near') ? Buffer.alloc(0) : piece) })
  await as(someone).get('/logout')
  await elsewhere.tp.sessions.revokeAll('ada')
  await clock.advance(59_999)
  expect(await someone.json('/')).toEqual({ userId: 'ada' })
  await clock.advance(1)
  expect(await someone.json('/')).toEqual({})
})

test('without a subscription each read asks Redis, and a revoked session is refused at once', async () => {
  const { proxy, here, commandsOf, warm, as } = await start()
  const someone = here.browser()
  await someone.get('/login')
  await warm(someone)
  proxy.set({ mode: 'refuse' })
  // Connections that exist go on. The subscription ends, and cannot begin again.
  await server.send('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await until('the copy has gone', async () => (await commandsOf(someone)).includes('MGET'))
  for (let i = 0; i < 5; i++) expect(await commandsOf(someone)).toContain('MGET')
  await as(someone).get('/logout')
  expect(await someone.json('/')).toEqual({})
  const other = here.browser()
  await other.get('/login')
  proxy.heal()
  await warm(other)
})

test('a lost connection drops all copies, also those from before it came back', async () => {
  const { proxy, here, warm, as } = await start()
  const someone = here.browser()
  await someone.get('/login')
  await warm(someone)
  proxy.set({ mode: 'refuse' })
  proxy.reset()
  await as(someone).get('/logout')
  await until('the connection is lost', async () => (await someone.get('/')).status === 503)
  proxy.heal()
  const text = await until('Redis is back', async () => {
    const response = await someone.get('/')
    return response.status === 200 && response.text
  })
  expect(text).toBe('{}')
})

test.each([
  ['closed', 503],
  ['open', 200],
] as const)(
  'Redis frozen, fail: %s: a copy is served within `near`, and not beyond',
  async (fail, status) => {
    const { proxy, clock, here, warm } = await start({ fail })
    const someone = here.browser()
    await someone.get('/login')
    await warm(someone)
    proxy.set({ mode: 'stall' })
    await clock.advance(59_999)
    expect(await someone.json('/')).toEqual({ userId: 'ada' })
    await clock.advance(1)
    const beyond = await someone.get('/')
    expect(beyond.status).toBe(status)
    expect(beyond.text).not.toContain('ada')
    const changing = await someone.get('/logout')
    expect(changing.status).toBe(503)
    expect(changing.headers['set-cookie']).toBeUndefined()
  },
)

test('a user who may not subscribe, or not publish, has sessions that are not near', async () => {
  await server.send('ACL', 'SETUSER', 'deaf', 'on', '>pw', '~*', '+@all', 'resetchannels')
  const { here, commandsOf } = await start({}, 'deaf:pw')
  const someone = here.browser()
  await someone.get('/login')
  for (let i = 0; i < 5; i++) expect(await commandsOf(someone)).toContain('MGET')
  expect(here.warnings.join()).toMatch(/near.*PUBLISH/)
  expect((await someone.get('/logout')).status).toBe(200)
  expect(await someone.json('/')).toEqual({})
})

test('sessions of connect-redis are asked for each time: nothing announces its writes', async () => {
  const { here, commandsOf } = await start({ legacyPrefix: 'sess:', legacySignature: 'read' })
  const own = here.browser()
  await own.get('/login')
  const { signId } = await import('../../../src/features/session/signature.ts')
  const value = JSON.stringify({ cookie: { originalMaxAge: null }, a: 1 })
  await server.send('SET', 'sess:of-connect-redis', value, 'EX', '60')
  const someone = here.browser()
  someone.jar.set(
    'sid',
    encodeURIComponent(signId('of-connect-redis', 'a secret of the tests', 'sid', 'express')),
  )
  for (let i = 0; i < 4; i++) expect(await commandsOf(someone)).toContain('MGET')
  expect(await someone.json('/')).toEqual({ a: 1 })
})

test('hostile messages drop copies at most', async () => {
  const { here, warm } = await start()
  const someone = here.browser()
  await someone.get('/login')
  await warm(someone)
  const channel = `near${count}:session!near`
  for (const message of [
    '',
    '?',
    '}',
    '{}',
    '{',
    '?x',
    '{a}:b',
    '__proto__',
    '{__proto__}',
    '\0',
    '💥',
  ])
    await server.send('PUBLISH', channel, message)
  await warm(someone)
  expect(await someone.json('/')).toEqual({ userId: 'ada' })
})
