/** Who may see and change what, on every framework. */
import compression from 'compression'
import helmet from 'helmet'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { turnpike } from '../../src/node.ts'
import { startRedis, testStore, type RedisServer } from '../../src/testing.ts'
import { apps } from '../support/apps.ts'
import { authorize, OPERATOR, OWN, send, start, VIEWER } from './support.ts'

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

const PATHS = [
  '/ops',
  '/ops/',
  '/ops/app.js',
  '/ops/app.css',
  '/ops/data/me',
  '/ops/data/overview',
  '/ops/stream/overview',
  '/ops/nowhere',
]
const ACTION = { command: 'cache purge', args: [], options: { tag: 'x', reason: 'test' } }

describe.each(apps)('$name', (kind) => {
  const application = () => {
    const app = start(kind, { redis: redis.url })
    onTestFinished(() => app.tp.close())
    return app
  }

  it('without authorization, page, asset, data, stream and action are 404, like any other path', async () => {
    const app = application()
    for (const path of PATHS) {
      const { headers, status, text } = await send(app, path)
      expect([path, status, text, headers['content-security-policy']]).toEqual([
        path,
        404,
        '',
        undefined,
      ])
    }
    for (const action of ['preview', 'run']) {
      const { status } = await send(app, `/ops/actions/${action}`, { body: ACTION, headers: OWN })
      expect(status).toBe(404)
    }
    expect((await send(app, '/elsewhere')).text).toBe('ok')
    expect((await send(app, '/opsx')).text).toBe('ok')
  })

  it('serves one document with relative addresses, and sends a path without a slash there', async () => {
    const app = application()
    const { headers, status, text } = await send(app, '/ops/', { headers: VIEWER })
    expect(status).toBe(200)
    expect(text).toContain('src="app.js"')
    expect(text).not.toMatch(/<script>|<style|style=|onclick|="\//)
    expect(headers).toMatchObject({
      'cache-control': 'no-store, no-transform',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
    })
    const policy = String(headers['content-security-policy'])
    expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'")
    expect(policy).toContain("require-trusted-types-for 'script'; trusted-types 'none'")
    expect(policy).not.toMatch(/unsafe|\*/)
    const moved = await send(app, '/ops', { headers: VIEWER })
    expect([moved.status, moved.headers['location']]).toEqual([302, './ops/'])
  })

  it('refuses every action of viewers, and changes from other sites in all forms', async () => {
    const app = application()
    await app.tp.ready()
    for (const action of ['preview', 'run']) {
      const path = `/ops/actions/${action}`
      const viewed = await send(app, path, { body: ACTION, headers: { ...OWN, ...VIEWER } })
      expect(viewed.status).toBe(403)
      const forged: Record<string, string>[] = [
        { 'sec-fetch-site': 'cross-site', 'content-type': 'application/json' },
        { 'sec-fetch-site': 'same-site', 'content-type': 'application/json' },
        { 'sec-fetch-site': 'same-origin', 'content-type': 'text/plain' },
        { 'sec-fetch-site': 'same-origin', 'content-type': 'application/x-www-form-urlencoded' },
        { 'sec-fetch-site': 'same-origin', 'content-type': 'multipart/form-data; boundary=x' },
        { origin: 'https://evil.example', 'content-type': 'application/json' },
        { origin: 'null', 'content-type': 'application/json' },
        { 'content-type': 'application/json' },
        { 'sec-fetch-site': 'same-origin' },
      ]
      for (const headers of forged) {
        const { status } = await send(app, path, {
          body: ACTION,
          headers: { ...headers, ...OPERATOR },
        })
        expect([headers, status]).toEqual([headers, 403])
      }
      const read = await send(app, path, { headers: { ...OWN, ...OPERATOR } })
      expect(read.status).toBe(404)
    }
    expect(await app.tp.locks.holder('nothing')).toBeUndefined()
    const { text } = await send(app, '/ops/data/audit', { headers: OPERATOR })
    expect(JSON.parse(text).data.entries).toEqual([])
  })

  it('accepts changes of its own page, also where the browser names only the origin', async () => {
    const app = application()
    const host = 'ops.example:8080'
    const accepted: Record<string, string>[] = [
      { ...OWN },
      { host, origin: `http://${host}`, 'content-type': 'application/json; charset=utf-8' },
    ]
    for (const headers of accepted) {
      const { status, text } = await send(app, '/ops/actions/preview', {
        body: ACTION,
        headers: { ...headers, ...OPERATOR },
      })
      expect(status).toBe(200)
      expect(JSON.parse(text)).toMatchObject({
        plan: ['Invalidate the cached responses of the tag x.'],
        cli: 'npx turnpike cache purge --app ./tp.mjs --tag x --reason test',
      })
    }
    const unread = await send(app, '/ops/data/me', {
      headers: { ...OPERATOR, 'sec-fetch-site': 'cross-site' },
    })
    expect(unread.status).toBe(404)
  })
})

it('works below a mount path, behind a proxy that strips it, behind helmet and compression', async () => {
  const kind = apps[0]!
  const app = kind.start({
    options: { redis: redis.url, prefix: 'shop', operations: false, logger: false },
    mount: (tp) =>
      ['/a/b', helmet(), compression({ threshold: 0 }), tp.dashboard({ authorize })] as any,
  })
  onTestFinished(() => app.tp.close())
  const moved = await send(app, '/a/b?x=1', { headers: OPERATOR })
  expect([moved.status, moved.headers['location']]).toEqual([302, './b/'])
  const page = await send(app, '/a/b/', { headers: { ...OPERATOR, 'accept-encoding': 'gzip' } })
  expect(page.status).toBe(200)
  expect(page.headers['content-security-policy']).not.toContain('unsafe-inline')
  expect((await send(app, '/a/b/app.css', { headers: OPERATOR })).text).toContain(':root')
  expect((await send(app, '/a/b/data/me', { headers: OPERATOR })).text).toContain('grace')
})

it('asks for authorization, and takes nothing else for it', async () => {
  const tp = turnpike({ store: testStore() })
  onTestFinished(() => tp.close())
  expect(() => tp.dashboard({} as never)).toThrow(expect.objectContaining({ code: 'TP_OPTION' }))
  expect(() => tp.dashboard(undefined as never)).toThrow(
    expect.objectContaining({ code: 'TP_OPTION' }),
  )
  for (const bad of [
    { path: 'ops' },
    { path: '/ops/' },
    { jobs: 'javascript:alert(1)' },
    { jobs: '//evil' },
  ])
    expect(() => tp.dashboard({ authorize, ...bad } as never)).toThrow(
      expect.objectContaining({ code: 'TP_OPTION' }),
    )
  const answers = [
    true,
    'ops',
    {},
    { can: 'operate' },
    { can: 'admin', who: 'x' },
    { can: 'view', who: '' },
    { can: 'view', who: 1 },
    null,
  ]
  for (const answer of answers) {
    const app = apps.at(-1)!.start({
      options: { store: testStore() },
      mount: (tp) => [tp.dashboard({ path: '/ops', authorize: async () => answer })],
    })
    expect((await send(app, '/ops/data/me')).status).toBe(404)
  }
})
