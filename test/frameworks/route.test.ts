/** The route of a request is the pattern, mount patterns included, however the client wrote the path. */
import { Router } from '@koa/router'
import express from 'express'
import express4 from 'express4'
import Koa from 'koa'
import supertest from 'supertest'
import { describe, expect, it } from 'vitest'
import { connectAdapter } from '../../src/http/connect.ts'
import { koaAdapter } from '../../src/http/koa.ts'
import { feature } from './harness.ts'

const options = { budgetMs: 100, warn: () => {} }
const seen: (string | undefined)[] = []
const note = feature((x) => {
  seen.push(x.route)
  return {}
})
const asked = async (app: any, path: string): Promise<typeof seen> => {
  seen.length = 0
  await supertest(app).get(path).expect(200)
  return [...seen]
}
const ok = (_: any, res: any): void => res.send('ok')

describe.each([
  ['Express 4', express4],
  ['Express 5', express],
])('of %s', (_, express: any) => {
  const { mount } = connectAdapter(options)
  const probe: any = mount(note)

  it('is the path of the route, and of the mount before a route is known', async () => {
    const router = express.Router()
    router.use(probe)
    router.get('/users/:id', probe, ok)
    const app = express().use(probe).use('/api', router)
    app.get([/^\/x(\d+)/, '/y'], probe, ok)
    expect(await asked(app, '/api/users/7')).toEqual([undefined, '/api', '/api/users/:id'])
    expect(await asked(app, '/x5')).toEqual([undefined, '/^\\/x(\\d+)/,/y'])
  })

  it.each(['/API/v1/users/7', '/api/V1/users/8', '/Api/v1/users/9/', '/api/v1/USERS/a%2Fb'])(
    'is the same for %s',
    async (path) => {
      const router = express.Router().use(probe).get('/users/:id', probe, ok)
      const app = express().use('/Api/v1', router)
      expect(await asked(app, path)).toEqual(['/Api/v1', '/Api/v1/users/:id'])
    },
  )

  it.each(['/shops/7/items/1', '/SHOPS/8/Items/2', '/shops/a.b-c/items/%C3%A9'])(
    'has parameters of the mounts: %s',
    async (path) => {
      const items = express.Router({ mergeParams: true }).use(probe).get('/:item', probe, ok)
      const shops = express.Router().use('/:shop/items', items)
      const app = express().use('/', express.Router()).use('/shops', shops)
      expect(await asked(app, path)).toEqual(['/shops/:shop/items', '/shops/:shop/items/:item'])
    },
  )

  it('tells routers apart that match the same path', async () => {
    const any = express.Router().get('/list', probe, (_: any, __: any, next: any) => next())
    const shops = express.Router().get('/list', probe, ok)
    const app = express().use('/:section', any).use('/shops', shops)
    expect(await asked(app, '/shops/list')).toEqual(['/:section/list', '/shops/list'])
    const unrouted = express().use('/:section', express.Router().use(probe))
    unrouted.use('/shops', express.Router().use(probe).use(ok))
    expect(await asked(unrouted, '/shops/list')).toEqual(['/shops', '/shops'])
  })

  it('tells the mounts of one router apart', async () => {
    const router = express.Router().get('/x', probe, ok)
    const app = express().use('/a', router).use('/b/:c', router)
    expect(await asked(app, '/a/x')).toEqual(['/a/x'])
    expect(await asked(app, '/b/1/x')).toEqual(['/b/:c/x'])
    expect(await asked(app, '/A/x')).toEqual(['/a/x'])
  })

  it('goes into mounted applications', async () => {
    const inner = express().use('/v/:version', express.Router().get('/:id', probe, ok))
    const app = express().use('/tenants/:tenant', inner)
    expect(await asked(app, '/tenants/7/V/2/3')).toEqual(['/tenants/:tenant/v/:version/:id'])
  })

  it('ends where a router is mounted in itself', async () => {
    const router = express.Router()
    router.get('/x', probe, ok)
    router.use('/', router)
    const app = express().use('/a', router)
    expect(await asked(app, '/A/x')).toEqual(['/a/x'])
  })

  it('is told for a mount of regular expressions and lists', async () => {
    const router = express.Router().get('/x', probe, ok)
    const app = express()
      .use(['/a', '/b'], router)
      .use(/^\/c\d/, router)
    const [list] = await asked(app, '/b/x')
    expect(await asked(app, '/A/x')).toEqual([list])
    const [expression] = await asked(app, '/c1/x')
    expect(await asked(app, '/c2/x')).toEqual([expression])
    expect(list).not.toBe(expression)
  })
})

describe('of @koa/router', () => {
  const { mount } = koaAdapter(options)
  const probe: any = mount(note)

  it('is the path with all prefixes', async () => {
    const router = new Router({ prefix: '/api' })
    router.get('/users/:id', probe, (ctx) => void (ctx.body = 'ok'))
    const app = new Koa().use(mount(note)).use(router.routes() as any)
    expect(await asked(app.callback(), '/api/users/7')).toEqual([undefined, '/api/users/:id'])
    expect(await asked(app.callback(), '/API/Users/8')).toEqual([undefined, '/api/users/:id'])
  })

  it('has parameters of nested routers', async () => {
    const items = new Router().get('/:item', probe, (ctx) => void (ctx.body = 'ok'))
    const shops = new Router().use('/shops/:shop/items', items.routes())
    const app = new Koa().use(shops.routes() as any).callback()
    expect(await asked(app, '/shops/7/items/1')).toEqual(['/shops/:shop/items/:item'])
  })

  it('has the prefixes that koa-mount takes off', async () => {
    const router = new Router().get('/users/:id', probe, (ctx) => void (ctx.body = 'ok'))
    const inner = router.routes() as any
    const app = new Koa().use(async (ctx: any, next) => {
      const { path } = ctx
      Object.assign(ctx, { mountPath: '/v1', path: path.slice('/api/v1'.length) })
      await inner(ctx, next)
      ctx.path = path
    })
    expect(await asked(app.callback(), '/api/v1/users/7')).toEqual(['/api/v1/users/:id'])
  })
})
