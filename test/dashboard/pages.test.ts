/** What pages read and what operators change, over HTTP. */
import { request as httpRequest } from 'node:http'
import { runInNewContext } from 'node:vm'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { browserScript } from '../../scripts/browser-script.mjs'
import { maskAddresses } from '../../src/dashboard/mask.ts'
import { STYLE } from '../../src/dashboard/style.ts'
import { startRedis, testStore, type RedisServer } from '../../src/testing.ts'
import { populate, SECRET, type Populated } from '../cli/application.ts'
import { apps, type App } from '../support/apps.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { until } from '../support/until.ts'
import { OPERATOR, OWN, portOf, send, start, VIEWER } from './support.ts'

let redis: RedisServer
let shop: Populated
beforeAll(async () => {
  redis = await startRedis()
  shop = await populate({ redis: redis.url }, '20s')
  await shop.report()
}, 60_000)
afterAll(async () => {
  await shop.close()
  await redis.stop()
})

function application(kind = apps[0]!): App {
  const app = start(kind, { redis: redis.url })
  app.tp.session({ secret: SECRET })
  onTestFinished(() => app.tp.close())
  return app
}

const page = async (app: App, path: string, headers: Record<string, string> = OPERATOR) =>
  JSON.parse((await send(app, `/ops/data/${path}`, { headers })).text)

const act = async (app: App, kind: 'preview' | 'run', body: object) => {
  const { status, text } = await send(app, `/ops/actions/${kind}`, {
    body,
    headers: { ...OWN, ...OPERATOR },
  })
  return { status, ...JSON.parse(text) }
}

it('a service that does not work needs attention', async () => {
  const app = start(apps[0]!, { redis: redis.url, prefix: 'services' })
  onTestFinished(() => app.tp.close())
  await app.tp.ready()
  await app.tp.service('payments').report({ status: 'error' })
  await app.tp.service('search').report({ status: 'degraded' })
  await app.tp.service('mail').report()
  const { data } = await page(app, 'overview')
  expect(data.attention).toEqual(
    expect.arrayContaining([
      {
        severity: 'critical',
        text: 'The service payments is in the state error.',
        page: 'overview',
      },
      { severity: 'warn', text: 'The service search is in the state degraded.', page: 'overview' },
    ]),
  )
  expect(JSON.stringify(data.attention)).not.toContain('mail')
})

describe.each(apps)('$name', (kind) => {
  it('reads every page from what the processes report and Redis contains', async () => {
    const app = application(kind)
    expect(await page(app, 'me')).toEqual({
      can: 'operate',
      who: 'grace@example.com',
      hasTenants: false,
      jobs: null,
    })
    const { data: overview } = await page(app, 'overview')
    expect(overview.processes.live).toBe(1)
    expect(overview.servers).toHaveLength(1)
    expect(overview.services).toMatchObject([{ name: 'search', status: 'healthy' }])
    const { data: limits } = await page(app, 'limits?subject=ada')
    const api = limits.limits.find(({ limit }: any) => limit === 'api')
    expect(api).toMatchObject({ state: { limit: 5, remaining: 4 }, of: { parts: ['ada'] } })
    const { data: sessions } = await page(app, 'sessions?user=ada')
    expect(sessions.sessions).toHaveLength(2)
    const { data: locks } = await page(app, 'locks?list=1')
    expect(locks.held.map(({ name }: any) => name).toSorted()).toEqual(['exports', 'nightly'])
    const { data: keys } = await page(app, 'idempotency?list=1')
    expect(keys.records).toMatchObject([{ state: 'completed' }])
    const { data: cached } = await page(app, `cache?url=${shop.url}/products/1`)
    expect(cached.entry).toMatchObject({ status: 200, state: 'fresh' })
    const { data: processes } = await page(app, 'processes')
    expect(processes.processes).toMatchObject([{ service: 'shop', state: 'live' }])
    const { data: checks } = await page(app, 'redis')
    expect(checks.findings.length).toBeGreaterThan(15)
    for (const name of ['rules', 'audit', 'cache', 'sessions', 'locks', 'idempotency'])
      expect(await page(app, name)).toMatchObject({ page: name, warnings: [] })
    expect((await send(app, '/ops/data/constructor', { headers: OPERATOR })).status).toBe(404)
  })

  it('makes a change only as it was shown, and notes who made it', async () => {
    const app = application(kind)
    const name = `job-${kind.name.replaceAll(/\W/g, '')}`
    const first = await app.tp.lock.acquire(name, { lease: '60s' })
    const wish = { command: 'locks break', args: [name], options: { reason: 'it hangs' } }
    const shown = await act(app, 'preview', wish)
    expect(shown.plan[0]).toBe(`Release the lock ${name}.`)
    expect(await app.tp.locks.holder(name)).toBeDefined()
    // Another process holds it meanwhile.
    await first.release()
    await using second = await app.tp.lock.acquire(name, { lease: '60s' })
    const late = await act(app, 'run', { ...wish, state: shown.state })
    expect(late).toMatchObject({ status: 409, changed: true })
    expect((await app.tp.locks.holder(name))?.token).toBe(second.token)
    for (const state of [undefined, '', shown.state])
      expect((await act(app, 'run', { ...wish, state })).status).toBe(409)
    const made = await act(app, 'run', { ...wish, state: late.state })
    expect(made).toMatchObject({ status: 200, line: 'Released.' })
    expect(await app.tp.locks.holder(name)).toBeUndefined()
    const { data } = await page(app, 'audit')
    expect(data.entries[0]).toMatchObject({
      action: 'locks break',
      by: 'grace@example.com',
      reason: 'it hangs',
      subject: name,
    })
  })
})

it('a change that concerns many needs its name', async () => {
  const app = application()
  const wish = { command: 'cache clear', args: [], options: { reason: 'test' } }
  const { state, typed } = await act(app, 'preview', wish)
  expect(typed).toBe('shop')
  for (const wrong of [undefined, 'Shop', ''])
    expect((await act(app, 'run', { ...wish, state, typed: wrong })).status).toBe(422)
  expect(await act(app, 'run', { ...wish, state, typed })).toMatchObject({ status: 200 })
})

it('every other change is refused, and nobody names another author', async () => {
  const app = application()
  const wrong: object[] = [
    {},
    { command: 'doctor' },
    { command: 'constructor' },
    { command: 'locks break', args: [] },
    { command: 'locks break', args: ['a', 'b'] },
    { command: 'locks break', args: [1] },
    { command: 'locks break', args: 'nightly' },
    { command: 'locks break', args: ['nightly'], options: { as: 'mallory' } },
    { command: 'locks break', args: ['nightly'], options: { yes: true } },
    { command: 'locks break', args: ['nightly'], options: { constructor: 'x' } },
    { command: 'cache purge', options: { tag: 'x', soft: 'yes' } },
    { command: 'limits block', args: ['ada'], options: { for: 'x' } },
    { command: 'locks break', args: ['x'.repeat(5000)] },
  ]
  for (const body of wrong)
    expect([body, (await act(app, 'preview', body)).status]).toEqual([body, 422])
  for (const body of ['', '{', '[]', 'null', `{"a":"${'x'.repeat(20_000)}"}`]) {
    const { status } = await send(app, '/ops/actions/preview', {
      body,
      headers: { ...OWN, ...OPERATOR },
    })
    expect(status).toBe(400)
  }
})

it('shows viewers the networks of addresses only, in every spelling', async () => {
  const app = application()
  const seen = await send(app, '/ops/data/limits', { headers: VIEWER })
  expect(seen.text).not.toContain('127.0.0.1')
  expect((await send(app, '/ops/data/sessions?user=ada', { headers: VIEWER })).text).toMatch(
    /127\.0\.\*\.\*/,
  )
  const masked = maskAddresses(
    '["2001:db8:1:2::7","2001%3adb8%3a1%3a2%3a%3a7","::ffff:203.0.113.7","fe80::1"]',
  )
  expect(masked).toBe('["2001:db8:*","2001:db8:*","::*.0.*.*","fe80::*"]')
  expect(maskAddresses('"2026-11-27T10:20:30Z" "shop:limit" 1.5')).toBe(
    '"2026-11-27T10:20:30Z" "shop:limit" 1.5',
  )
})

it('says what is missing: data of the process itself, and a Redis that is away', async () => {
  const inProcess = start(apps[0]!, { store: testStore() })
  expect(await page(inProcess, 'overview')).toMatchObject({
    error: { message: expect.stringContaining('in its own process') },
  })
  const away = start(apps[0]!, { redis: 'redis://127.0.0.1:1' })
  onTestFinished(() => away.tp.close())
  expect(await page(away, 'overview')).toMatchObject({ error: { code: 'unreachable' } })
})

/** Opens a stream. Returns what it has received. */
async function follow(app: App, name: string, headers: Record<string, string>) {
  const req = httpRequest({
    port: await portOf(app),
    path: `/ops/stream/${name}`,
    headers,
    agent: false,
  })
  const received: string[] = []
  req.on('response', (res) =>
    res.setEncoding('utf8').on('data', (text: string) => received.push(text)),
  )
  req.on('error', () => {})
  req.end()
  await until('the stream is open', () => received.length > 0)
  return { received, close: () => req.destroy() }
}

it('ten viewers of a page cost Redis what one costs, and no viewer costs nothing', async () => {
  await using proxy = await startFaultProxy(Number(new URL(redis.url).port))
  const app = start(apps[0]!, { redis: proxy.url })
  onTestFinished(() => app.tp.close())
  // The connection is open then.
  await page(app, 'audit')
  // Graphs need the last half hour. Its minutes are read once.
  proxy.forget()
  await page(app, 'overview')
  expect(proxy.traffic.commands.filter((name) => name === 'HGETALL').length).toBeGreaterThan(30)
  const measure = async (viewers: number): Promise<string[]> => {
    proxy.forget()
    const streams = await Promise.all(
      Array.from({ length: viewers }, (_, i) => follow(app, 'overview', i % 2 ? OPERATOR : VIEWER)),
    )
    const hasData = (): boolean =>
      streams.every(({ received }) => received.join('').includes('data: '))
    await until('each has received the page', hasData, 15_000)
    for (const { close } of streams) close()
    return proxy.traffic.commands.filter((name) => name !== 'PING')
  }
  const one = await measure(1)
  expect(one.filter((name) => name === 'INFO')).toHaveLength(1)
  expect(one.filter((name) => name === 'HGETALL').length).toBeLessThan(10)
  expect(await measure(10)).toEqual(one)
  proxy.forget()
  await new Promise((resolve) => setTimeout(resolve, 3500))
  expect(proxy.traffic.commands.filter((name) => name !== 'PING')).toEqual([])
}, 60_000)

it('streams end when the instance closes', async () => {
  const app = start(apps[0]!, { redis: redis.url })
  const { received } = await follow(app, 'audit', OPERATOR)
  expect(received[0]).toContain('retry: 1000')
  await app.tp.close()
  const open = (): Promise<number> =>
    new Promise((resolve) => app.server.getConnections((_, count) => resolve(count)))
  await until('the connection is free', async () => (await open()) === 0, 10_000)
})

it('the page is small: 30 kB of script and 5 kB of style, compressed', async () => {
  const file = `${import.meta.dirname}/../../src/dashboard/client/main.ts?script`
  const { code } = (await browserScript.load(file))!
  const script = runInNewContext(code.slice('export default '.length)) as string
  expect(gzipSync(script).length).toBeLessThan(30_000)
  expect(gzipSync(STYLE).length).toBeLessThan(5000)
  expect(script).not.toMatch(
    /innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function/,
  )
})
