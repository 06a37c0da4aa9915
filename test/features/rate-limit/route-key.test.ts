/** tp.key.route(): HEAD is answered by the handler of GET, and counts with it. */
import { createServer, type Server } from 'node:http'
import { Router } from '@koa/router'
import express from 'express'
import express4 from 'express4'
import Koa from 'koa'
import Koa2 from 'koa2'
import supertest from 'supertest'
import { describe, expect, test } from 'vitest'
import { turnpike as forExpress } from '../../../src/express.ts'
import type { TurnpikeOptions } from '../../../src/index.ts'
import { turnpike as forKoa } from '../../../src/koa.ts'
import { bothEngines } from '../../support/engines.ts'

const LIMIT = { limit: 2, window: '1m' } as const
/** Two routes with a limit of two requests each, and a third one for POST. */
type Start = (options: TurnpikeOptions<any>) => Server

const onExpress =
  (framework: typeof express): Start =>
  (options) => {
    const tp = forExpress(options)
    const limit = tp.rateLimit({ ...LIMIT, key: tp.key.route() })
    const app = framework()
    const ok = (_req: unknown, res: any): void => res.send('ok')
    app.get('/users/:id', limit, ok).get('/items/:id', limit, ok).post('/users/:id', limit, ok)
    return createServer(app)
  }

const onKoa =
  (Framework: typeof Koa): Start =>
  (options) => {
    const tp = forKoa(options)
    const limit: any = tp.rateLimit({ ...LIMIT, key: tp.key.route() })
    const ok = (ctx: any): void => void (ctx.body = 'ok')
    const router = new Router()
    router.get('/users/:id', limit, ok).get('/items/:id', limit, ok).post('/users/:id', limit, ok)
    return createServer(new Framework().use(router.routes() as any).callback())
  }

describe.each(bothEngines())('on the $name engine', ({ open }) => {
  describe.each<[string, Start]>([
    ['Express 4', onExpress(express4)],
    ['Express 5', onExpress(express)],
    ['Koa 2', onKoa(Koa2)],
    ['Koa 3', onKoa(Koa)],
  ])('%s', (_, start) => {
    const client = () => {
      const { store, prefix } = open()
      const requests = supertest(start({ store, prefix }))
      return async (method: 'get' | 'head' | 'post', path: string): Promise<number> =>
        (await requests[method](path)).status
    }

    test.each([
      ['get', 'head', 'get'],
      ['head', 'head', 'get'],
      ['get', 'get', 'head'],
      ['head', 'get', 'head'],
    ] as const)('%s, %s and then %s are three requests for one route', async (...methods) => {
      const send = client()
      const statuses = []
      for (const [index, method] of methods.entries())
        statuses.push(await send(method, `/users/${index}`))
      expect(statuses).toEqual([200, 200, 429])
    })

    test('another route and another method have counts of their own', async () => {
      const send = client()
      for (let i = 0; i < 2; i++) await send('head', '/users/1')
      expect(await send('head', '/users/2')).toBe(429)
      expect(await send('head', '/items/1')).toBe(200)
      expect(await send('get', '/items/2')).toBe(200)
      expect(await send('head', '/items/3')).toBe(429)
      expect(await send('post', '/users/1')).toBe(200)
    })
  })
})
