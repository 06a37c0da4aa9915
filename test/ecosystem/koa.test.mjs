/** Koa applications with the packages that most of them have. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import cors from '@koa/cors'
import { Router } from '@koa/router'
import bodyParser from 'koa-bodyparser'
import compress from 'koa-compress'
import helmet from 'koa-helmet'
import koaPassport from 'koa-passport'
import send from 'koa-send'
import koaSession from 'koa-session'
import { Strategy as LocalStrategy } from 'passport-local'
import { turnpike } from 'turnpike/koa'
import { describe, expect, it, onTestFinished } from 'vitest'
import { clientOf, cookiesOf, koas, open, SECRET, useRedis } from './support.mjs'

const redis = useRedis()
const PAGE = 'all work and no play '.repeat(200)

describe.each(koas)('%s', (_name, Koa) => {
  /** An application that does not print its errors. */
  function create() {
    const app = new Koa()
    app.silent = true
    app.keys = [SECRET]
    return app
  }

  describe('with koa-helmet, @koa/cors, koa-compress and @koa/router', () => {
    async function createClient() {
      const tp = await open(turnpike, redis)
      const app = create()
      const router = new Router()
      let made = 0
      router.get('/pages/:id', tp.cache({ ttl: '1m', tags: (ctx) => [ctx.params.id] }), (ctx) => {
        made++
        ctx.body = `${ctx.params.id}: ${PAGE}`
      })
      router.put('/pages/:id', tp.invalidate({ tags: (ctx) => [ctx.params.id] }), (ctx) => {
        ctx.body = 'saved'
      })
      const limit = tp.rateLimit({ limit: 2, window: '1m', key: tp.key.route() })
      router.get('/limited/:id', limit, (ctx) => {
        ctx.body = 'passed'
      })
      app.use(helmet())
      app.use(cors({ credentials: true }))
      app.use(compress({ threshold: 0 }))
      app.use(router.routes()).use(router.allowedMethods())
      return { client: await clientOf(app.callback()), made: () => made }
    }

    it('a hit is what the miss was: compressed, secured, for each origin', async () => {
      const { client, made } = await createClient()
      const get = (origin) =>
        client.get('/pages/1').set('Origin', origin).set('Accept-Encoding', 'gzip')
      const miss = await get('https://a.example.com').expect(200)
      const hit = await get('https://b.example.com').expect(200)
      expect(made()).toBe(1)
      expect(hit.text).toBe(`1: ${PAGE}`)
      expect(hit.text).toBe(miss.text)
      expect(hit.headers['cache-status']).toContain('hit')
      for (const answer of [miss, hit]) {
        expect(answer.headers['content-encoding']).toBe('gzip')
        expect(answer.headers['x-content-type-options']).toBe('nosniff')
      }
      expect(miss.headers['access-control-allow-origin']).toBe('https://a.example.com')
      expect(hit.headers['access-control-allow-origin']).toBe('https://b.example.com')
    })

    it('a client without gzip gets the same page plain', async () => {
      const { client, made } = await createClient()
      await client.get('/pages/1').set('Accept-Encoding', 'gzip').expect(200)
      const plain = await client.get('/pages/1').set('Accept-Encoding', 'identity').expect(200)
      expect(plain.headers['content-encoding']).toBeUndefined()
      expect(plain.text).toBe(`1: ${PAGE}`)
      expect(made()).toBe(1)
    })

    it('a write invalidates its tag, and no other', async () => {
      const { client, made } = await createClient()
      await client.get('/pages/1').expect(200)
      await client.get('/pages/2').expect(200)
      await client.put('/pages/1').expect(200, 'saved')
      await client.get('/pages/2').expect(200)
      expect(made()).toBe(2)
      await client.get('/pages/1').expect(200)
      expect(made()).toBe(3)
    })

    it('a limit on a route counts the route, whatever its parameters', async () => {
      const { client } = await createClient()
      await client.get('/limited/1').expect(200)
      await client.get('/limited/2').expect(200)
      await client.get('/limited/3').expect(429)
      await client.get('/pages/1').expect(200)
    })
  })

  describe('with koa-bodyparser', () => {
    it.each(['before', 'after'])(
      'a repeated order has one effect, with the parser %s the key',
      async (place) => {
        const tp = await open(turnpike, redis)
        const app = create()
        const orders = []
        const middlewares = [bodyParser(), tp.idempotency()]
        for (const each of place === 'before' ? middlewares : middlewares.toReversed())
          app.use(each)
        app.use((ctx) => {
          orders.push(ctx.request.body.item)
          ctx.status = 201
          ctx.body = { number: orders.length }
        })
        const client = await clientOf(app.callback())
        const order = (item) => client.post('/').set('Idempotency-Key', '"o1"').send({ item })
        await order('compass').expect(201, { number: 1 })
        await order('compass').expect(201, { number: 1 })
        await order('map').expect(422)
        expect(orders).toEqual(['compass'])
      },
    )
  })

  describe('with koa-send', () => {
    it('files are sent through a limit and a cache, whole and in parts', async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'turnpike-send-'))
      onTestFinished(() => rmSync(folder, { recursive: true }))
      writeFileSync(path.join(folder, 'page.txt'), PAGE)
      const tp = await open(turnpike, redis)
      const app = create()
      app.use(tp.rateLimit({ limit: 100, window: '1m' }))
      app.use(tp.cache({ ttl: '1m' }))
      app.use((ctx) => send(ctx, ctx.path, { root: folder }))
      const client = await clientOf(app.callback())
      for (let i = 0; i < 3; i++) {
        const { text, headers } = await client.get('/page.txt').expect(200)
        expect(text).toBe(PAGE)
        expect(headers['content-type']).toBe('text/plain; charset=utf-8')
        expect(headers['last-modified']).toBeDefined()
      }
      await client.get('/nowhere.txt').expect(404)
    })
  })

  describe('with koa-passport over tp.session()', () => {
    async function createClient() {
      const tp = await open(turnpike, redis)
      const auth = new koaPassport.KoaPassport()
      auth.use(
        new LocalStrategy((name, password, done) =>
          done(null, password === 'right' ? { id: name } : false),
        ),
      )
      auth.serializeUser((user, done) => done(null, user.id))
      auth.deserializeUser((id, done) => done(null, { id }))
      const app = create()
      const router = new Router()
      app.use(bodyParser())
      app.use(tp.session({ secret: SECRET }))
      app.use(auth.initialize())
      app.use(auth.session())
      router.post('/login', auth.authenticate('local'), (ctx) => {
        ctx.body = ctx.state.user
      })
      router.get('/me', tp.cache({ ttl: '1m' }), (ctx) => {
        ctx.body = { id: ctx.state.user?.id ?? null }
      })
      router.post('/logout', async (ctx) => {
        await ctx.logout()
        ctx.body = 'bye'
      })
      app.use(router.routes())
      return clientOf(app.callback())
    }

    it('users log in and out, and do not see pages of each other', async () => {
      const client = await createClient()
      const login = (username, password) => client.post('/login').send({ username, password })
      const me = (cookie) => client.get('/me').set('Cookie', cookie)
      await login('ann', 'wrong').expect(401)
      const ann = cookiesOf(await login('ann', 'right').expect({ id: 'ann' }))
      const bob = cookiesOf(await login('bob', 'right').expect({ id: 'bob' }))
      await me(ann).expect({ id: 'ann' })
      await me(bob).expect({ id: 'bob' })
      await me('').expect({ id: null })
      await client.post('/logout').set('Cookie', ann).expect('bye')
      await me(ann).expect({ id: null })
      await me(bob).expect({ id: 'bob' })
    })
  })

  describe('with koa-session beside turnpike', () => {
    async function createClient() {
      const tp = await open(turnpike, redis)
      const app = create()
      const router = new Router()
      app.use(koaSession(app))
      app.use(tp.rateLimit({ limit: 3, window: '1m', key: tp.key.user() }))
      let made = 0
      router.get('/login/:user', (ctx) => {
        ctx.session.userId = ctx.params.user
        ctx.body = 'welcome'
      })
      router.get('/page', tp.cache({ ttl: '1m' }), (ctx) => {
        made++
        ctx.body = `for ${ctx.session.userId ?? 'everybody'}`
      })
      app.use(router.routes())
      return { client: await clientOf(app.callback()), made: () => made }
    }

    it('an empty session does not keep a page from being shared', async () => {
      const { client, made } = await createClient()
      await client.get('/page').expect('for everybody')
      await client.get('/page').expect('for everybody')
      expect(made()).toBe(1)
    })

    it('its sessions tell users apart, and their pages are not shared', async () => {
      const { client } = await createClient()
      const ann = cookiesOf(await client.get('/login/ann').expect('welcome'))
      const bob = cookiesOf(await client.get('/login/bob').expect('welcome'))
      const page = (cookie) => client.get('/page').set('Cookie', cookie)
      await page(ann).expect('for ann')
      await page(bob).expect('for bob')
      await page(ann).expect('for ann')
      await page(ann).expect('for ann')
      await page(ann).expect(429)
      await page(bob).expect('for bob')
    })
  })
})
