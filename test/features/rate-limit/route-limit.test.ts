/** A limit by route counts what reaches the route, however its address is spelled. */
import { Router } from '@koa/router'
import express from 'express'
import express4 from 'express4'
import Koa from 'koa'
import request from 'supertest'
import { describe, expect, test } from 'vitest'
import { turnpike as forExpress } from '../../../src/express.ts'
import { turnpike as forKoa } from '../../../src/koa.ts'
import { turnpike as forNode } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'

const LIMIT = 3
const limitOf = (tp: any): any =>
  tp.rateLimit({ limit: LIMIT, window: '1m', key: tp.key.route(), name: 'items' })

function onExpress(framework: typeof express): any {
  const tp = forExpress({ store: testStore() })
  const router = framework.Router({ mergeParams: true })
  router.get('/items/:id', limitOf(tp), (_req, res) => void res.send('item'))
  return framework().use('/shops/:shop', router)
}
const frameworks: Record<string, () => any> = {
  'Express 5': () => onExpress(express),
  'Express 4': () => onExpress(express4),
  'Koa 3 with @koa/router'() {
    const tp = forKoa({ store: testStore() })
    const router = new Router({ prefix: '/shops/:shop' })
    router.get('/items/:id', limitOf(tp), (ctx) => {
      ctx.body = 'item'
    })
    return new Koa().use(router.routes()).callback()
  },
}

/** Requests that reach the one route. */
const SPELLINGS: [method: 'get' | 'head', target: string][] = [
  ['get', '/shops/7/items/1'],
  ['head', '/shops/7/items/1'],
  ['get', '/SHOPS/7/items/1'],
  ['get', '/shops/7/Items/1'],
  ['get', '/shops/7/items/1/'],
  ['get', '/shops/7/items/1?a=b'],
  ['get', '/shops/7/items/%31'],
  ['get', '/shops/8/items/2'],
  ['get', '/shops/%2e/items/x;y=z'],
]

describe.each(Object.entries(frameworks))('%s', (_name, start) => {
  test.each(SPELLINGS)(
    'attack: around the limit of a route by another spelling or method: %s %s',
    async (method, target) => {
      const listener = start()
      for (let i = 0; i < LIMIT; i++)
        expect((await request(listener).get('/shops/7/items/1')).status).toBe(200)
      expect((await request(listener)[method](target)).status).toBe(429)
    },
  )
})

test('without a router there is no route: a limit by route is a mistake of the application', async () => {
  const limit = limitOf(forNode({ store: testStore() }))
  const listener = (req: any, res: any): void =>
    limit(req, res, (error: any) => res.writeHead(error ? 500 : 200).end(error?.code))
  const answer = await request(listener).get('/shops/7')
  expect([answer.status, answer.text]).toEqual([500, 'TP_KEY'])
})
