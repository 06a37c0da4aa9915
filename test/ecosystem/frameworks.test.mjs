/** Frameworks above Express and node:http: NestJS, Fastify, Apollo. */
import 'reflect-metadata'
import { ApolloServer } from '@apollo/server'
import { expressMiddleware } from '@as-integrations/express5'
import middie from '@fastify/middie'
import { Body, Controller, Dependencies, Get, Module, Post, Req } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import express from 'express'
import fastify from 'fastify'
import request from 'supertest'
import { turnpike } from 'turnpike/express'
import { turnpike as nodeTurnpike } from 'turnpike/node'
import { describe, expect, it, onTestFinished } from 'vitest'
import { clientOf, cookiesOf, open, SECRET, useRedis } from './support.mjs'

const redis = useRedis()

/** Applies decorators as TypeScript does. */
function decorate(decorators, target, key) {
  const descriptor = key === undefined ? undefined : Object.getOwnPropertyDescriptor(target, key)
  for (const decorator of decorators) decorator(target, key, descriptor)
}

describe('NestJS', () => {
  async function createClient() {
    const tp = await open(turnpike, redis)
    const orders = []
    class ShopController {
      list() {
        return { orders: orders.length }
      }
      order(body) {
        orders.push(body.item)
        return { number: orders.length }
      }
      async login(req) {
        await tp.session.login(req, 'ann')
        return { ok: true }
      }
      me(req) {
        return { user: req.session.userId ?? null }
      }
    }
    const { prototype } = ShopController
    Body()(prototype, 'order', 0)
    for (const key of ['login', 'me']) Req()(prototype, key, 0)
    decorate([Get('list')], prototype, 'list')
    decorate([Post('orders')], prototype, 'order')
    decorate([Post('login')], prototype, 'login')
    decorate([Get('me')], prototype, 'me')
    decorate([Controller(), Dependencies()], ShopController)
    class ShopModule {
      configure(consumer) {
        consumer.apply(tp.rateLimit({ limit: 3, window: '1m' })).forRoutes('list')
        consumer.apply(tp.cache({ ttl: '1m' })).forRoutes('list')
        consumer.apply(tp.idempotency()).forRoutes('orders')
      }
    }
    decorate([Module({ controllers: [ShopController] })], ShopModule)
    const app = await NestFactory.create(ShopModule, { logger: false })
    app.use(tp.session({ secret: SECRET }))
    await app.listen(0, '127.0.0.1')
    onTestFinished(() => app.close())
    return { client: request(await app.getUrl()), orders }
  }

  it('sessions, limits and caches work as global and as module middlewares', async () => {
    const { client } = await createClient()
    await client.get('/me').expect(200, { user: null })
    const cookie = cookiesOf(await client.post('/login').expect(201, { ok: true }))
    await client.get('/me').set('Cookie', cookie).expect(200, { user: 'ann' })
    await client.get('/list').expect(200, { orders: 0 })
    await client.post('/orders').send({ item: 'map' }).expect(201)
    const hit = await client.get('/list').expect(200, { orders: 0 })
    expect(hit.headers['cache-status']).toContain('hit')
    await client.get('/list').expect(200)
    await client.get('/list').expect(429)
  })

  it('a repeated order has one effect', async () => {
    const { client, orders } = await createClient()
    const order = (item) => client.post('/orders').set('Idempotency-Key', '"o1"').send({ item })
    await order('compass').expect(201, { number: 1 })
    await order('compass').expect(201, { number: 1 })
    await order('map').expect(422)
    expect(orders).toEqual(['compass'])
  })
})

describe('Fastify with middie', () => {
  it('limits, sessions and caches work before its routes', async () => {
    const tp = await open(nodeTurnpike, redis)
    const app = fastify()
    await app.register(middie)
    app.use(tp.session({ secret: SECRET }))
    app.use('/limited', tp.rateLimit({ limit: 2, window: '1m' }))
    let made = 0
    app.use('/page', tp.cache({ ttl: '1m' }))
    app.get('/limited', () => 'passed')
    app.get('/page', () => ({ made: ++made }))
    app.get('/visit', (req) => {
      req.raw.session.visits = (req.raw.session.visits ?? 0) + 1
      return { visits: req.raw.session.visits }
    })
    const client = request(await app.listen({ port: 0, host: '127.0.0.1' }))
    onTestFinished(() => app.close())

    const first = await client.get('/visit').expect(200, { visits: 1 })
    await client.get('/visit').set('Cookie', cookiesOf(first)).expect(200, { visits: 2 })
    await client.get('/page').expect(200, { made: 1 })
    await client.get('/page').expect(200, { made: 1 })
    await client.get('/limited').expect(200, 'passed')
    await client.get('/limited').expect(200, 'passed')
    await client.get('/limited').expect(429)
  })
})

describe('Apollo', () => {
  it('queries are limited by user, and a repeated mutation has one effect', async () => {
    const tp = await open(turnpike, redis)
    let orders = 0
    const server = new ApolloServer({
      typeDefs: 'type Query { me: String } type Mutation { order: Int }',
      resolvers: {
        Query: { me: (_root, _args, { user }) => user },
        Mutation: { order: () => ++orders },
      },
    })
    await server.start()
    onTestFinished(() => server.stop())
    const app = express()
    app.use(tp.session({ secret: SECRET }))
    app.post('/login/:user', async (req, res) => {
      await tp.session.login(req, req.params.user)
      res.end()
    })
    app.use(
      '/graphql',
      tp.rateLimit({ limit: 4, window: '1m', key: tp.key.user() }),
      express.json(),
      tp.idempotency(),
      expressMiddleware(server, { context: async ({ req }) => ({ user: req.session.userId }) }),
    )
    const client = await clientOf(app)
    const [ann, bob] = await Promise.all(
      ['ann', 'bob'].map(async (user) => cookiesOf(await client.post(`/login/${user}`))),
    )
    const send = (cookie, query) => client.post('/graphql').set('Cookie', cookie).send({ query })
    await send(ann, '{ me }').expect(200, { data: { me: 'ann' } })
    const mutation = (cookie) => send(cookie, 'mutation { order }').set('Idempotency-Key', '"m1"')
    await mutation(ann).expect(200, { data: { order: 1 } })
    await mutation(ann).expect(200, { data: { order: 1 } })
    await mutation(bob).expect(200, { data: { order: 2 } })
    await send(ann, '{ me }').expect(200)
    await send(ann, '{ me }').expect(429)
    await send(bob, '{ me }').expect(200, { data: { me: 'bob' } })
  })
})
