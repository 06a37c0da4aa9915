/** What docs/migrate/koa-session.md says: the same application over koa-session 7 and over tp.session(). */
import Koa, { type Context } from 'koa'
import { createSession } from 'koa-session'
import request from 'supertest'
import { describe, expect, test } from 'vitest'
import { turnpike } from '../../src/koa.ts'
import { testStore } from '../../src/testing.ts'

const before = (app: Koa): Koa.Middleware => {
  app.keys = ['secret']
  const kept = new Map<string, unknown>()
  const store = {
    get: async (key: string) => kept.get(key),
    set: async (key: string, value: object) => void kept.set(key, structuredClone(value)),
    destroy: async (key: string) => void kept.delete(key),
  }
  return createSession({ store, key: 'sid' }, app as never)
}

const after = (): Koa.Middleware =>
  turnpike({ store: testStore() }).session({
    secret: 'secret',
    name: 'sid',
    cookie: { secure: false },
  })

function appOver(mount: (app: Koa) => Koa.Middleware) {
  const app = new Koa()
  app.use(mount(app))
  app.use((ctx: Context) => {
    const { session } = ctx
    if (ctx.path === '/count') session.count = (session.count ?? 0) + 1
    if (ctx.path === '/replace') (ctx as any).session = { other: 1 }
    if (ctx.path === '/end') (ctx as any).session = null
    // koa-session keeps notes of its own among the data; JSON shows none of them.
    ctx.body = JSON.parse(JSON.stringify(ctx.session ?? {}))
  })
  const callback = app.callback()
  let cookies: string[] = []
  return async (path: string) => {
    const response = await request(callback).get(path).set('Cookie', cookies.join('; '))
    const sent = response.headers['set-cookie'] as unknown as string[] | undefined
    if (sent) cookies = sent.map((each) => each.split(';')[0]!)
    return response
  }
}

describe.each([
  ['koa-session', before],
  ['tp.session()', after],
] as const)('%s', (_name, mount) => {
  test('reads and writes', async () => {
    const get = appOver(mount)
    expect((await get('/')).headers['set-cookie']).toBeUndefined()
    expect((await get('/count')).body).toEqual({ count: 1 })
    expect((await get('/count')).body).toEqual({ count: 2 })
    expect((await get('/')).body).toEqual({ count: 2 })
  })

  test('ctx.session = { … } replaces, ctx.session = null ends', async () => {
    const get = appOver(mount)
    await get('/count')
    await get('/replace')
    expect((await get('/')).body).toEqual({ other: 1 })
    await get('/end')
    expect((await get('/')).body).toEqual({})
  })
})
