/** What docs/migrate/koa-session.md says: the same application over koa-session 7 and over tp.session(). */
import Koa, { type Context } from 'koa'
import { createSession } from 'koa-session'
import request from 'supertest'
import { describe, expect, test } from 'vitest'
import { turnpike } from '../../src/koa.ts'

const DAY = 86_400_000

const before = (app: Koa): Koa.Middleware => {
  app.keys = ['secret']
  const kept = new Map<string, unknown>()
  const store = {
    get: async (key: string) => kept.get(key),
    set: async (key: string, value: object) => void kept.set(key, structuredClone(value)),
    destroy: async (key: string) => void kept.delete(key),
  }
  return createSession({ store, key: 'sid', maxAge: DAY }, app as never)
}

const after = (): Koa.Middleware =>
  turnpike({ redis: 'memory' }).session({
    secret: 'secret',
    name: 'sid',
    cookie: { secure: false, maxAge: DAY },
  })

type Mount = (app: Koa) => Koa.Middleware

/** What koa-session's README documents of a session, as both show it. */
const members = ({ session }: Context): object => ({
  isNew: session.isNew,
  populated: session.populated,
  length: session.length,
  maxAge: session.maxAge,
  externalKey: typeof session.externalKey,
  json: session.toJSON(),
})

const routes: Record<string, (ctx: Context) => unknown> = {
  '/members': members,
  '/day': ({ session }) => {
    session.a = 1
    session.maxAge = DAY / 2
  },
  '/browser': ({ session }) => {
    session.a = 1
    session.maxAge = 'session'
  },
  '/save': async (ctx) => {
    ctx.session.a = 1
    await ctx.session.save()
  },
  '/commit': async (ctx) => {
    ctx.session.a = 1
    await ctx.session.manuallyCommit()
  },
  '/regenerate': async (ctx) => {
    ctx.session.b = 2
    await ctx.session.regenerate()
    return ctx.session.toJSON()
  },
  '/callback': async (ctx) => {
    ctx.session.c = 3
    await new Promise((resolve) => ctx.session.save(resolve))
  },
}

function appOver(mount: Mount) {
  const app = new Koa()
  app.use(mount(app))
  app.use(async (ctx: Context, next) => {
    const route = routes[ctx.path]
    if (route) ctx.body = (await route(ctx)) ?? {}
    else await next()
  })
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

  test('isNew, populated, length, maxAge, externalKey and toJSON() say how the session is', async () => {
    const get = appOver(mount)
    const { body: fresh } = await get('/members')
    expect(fresh).toMatchObject({ isNew: true, populated: false, length: 0, maxAge: DAY, json: {} })
    await get('/count')
    expect((await get('/members')).body).toEqual({
      isNew: false,
      populated: true,
      length: 1,
      maxAge: DAY,
      externalKey: 'string',
      json: { count: 1 },
    })
  })

  test('maxAge of one session is kept: a number, or the time of the browser session', async () => {
    const get = appOver(mount)
    const half = await get('/day')
    const expires = /expires=([^;]+)/i.exec(String(half.headers['set-cookie']))![1]!
    expect(Math.abs(Date.parse(expires) - Date.now() - DAY / 2)).toBeLessThan(60_000)
    expect((await get('/members')).body.maxAge).toBe(DAY / 2)
    expect(String((await get('/browser')).headers['set-cookie'])).not.toMatch(/expires=/i)
    expect((await get('/members')).body.maxAge).toBe('session')
  })

  test.each(['/save', '/commit', '/callback'])('%s stores the session', async (path) => {
    const get = appOver(mount)
    await get(path)
    expect((await get('/members')).body).toMatchObject({ isNew: false, length: 1 })
  })

  test('regenerate() keeps the data under another ID', async () => {
    const get = appOver(mount)
    const value = ({ headers }: request.Response): string =>
      /sid=([^;]+)/.exec(String(headers['set-cookie']))![1]!
    const before = value(await get('/save'))
    const regenerated = await get('/regenerate')
    expect(regenerated.body).toEqual({ a: 1, b: 2 })
    expect(value(regenerated)).not.toBe(before)
    expect((await get('/members')).body.json).toEqual({ a: 1, b: 2 })
  })
})
