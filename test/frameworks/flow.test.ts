import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import supertest from 'supertest'
import { describe, expect, it } from 'vitest'
import { featureOf } from '../../src/http/adapter.ts'
import { connectAdapter } from '../../src/http/connect.ts'
import type { ResponseEnd, Exchange } from '../../src/http/exchange.ts'
import { koaAdapter } from '../../src/http/koa.ts'
import { ask, feature, frameworks, signal, type Foreign } from './harness.ts'

const options = { budgetMs: 100, warn: () => {} }

describe.each(frameworks)('the flow on $name', ({ start, kind }) => {
  it('tells the end once, with the status', async () => {
    const ends: ResponseEnd[] = []
    const over = signal()
    const app = await start({
      stack: [
        feature(() => ({ onFinish: () => over.resolve() })),
        feature(async () => ({ onFinish: (end) => ends.push(end) })),
      ],
      handler({ res, send }) {
        expect(res.listeners('close').filter(({ name }) => name === 'onClose')).toHaveLength(1)
        send(201, 'made')
      },
    })
    await ask(app)
    await over.promise
    await new Promise(setImmediate)
    expect(ends).toEqual([{ status: 201, finished: true }])
  })

  it('shows each feature the header fields as the middlewares before it have left them', async () => {
    const seen: (string | undefined)[] = []
    const late: (string | undefined)[] = []
    const over = signal()
    const reader = feature(
      async (x) => {
        await Promise.resolve()
        seen.push(x.header('x-place'))
        return { onFinish: () => late.push(x.header('x-place')) }
      },
      { prepare: (x) => void x.header('x-place') },
    )
    const put = (place: string): Foreign => ({
      foreign({ req }) {
        req.headers = { ...req.headers, 'x-place': place }
      },
    })
    const app = await start({
      stack: [
        feature(() => ({ onFinish: () => setImmediate(over.resolve) })),
        reader,
        put('one'),
        reader,
        [reader, put('two'), reader],
        put('three'),
      ],
    })
    expect(await ask(app)).toMatchObject({ status: 200 })
    await over.promise
    expect(seen).toEqual([undefined, 'one', 'one', 'two'])
    expect(late).toEqual(['three', 'three', 'three', 'three'])
  })

  it.each(['before the answer', 'in the middle', 'while the end is held back'])(
    'tells that the client went away %s',
    async (moment) => {
      const end = signal<ResponseEnd>()
      const begun = signal()
      const sealed = signal()
      const app = await start({
        stack: [
          feature(() => ({ onFinish: end.resolve })),
          feature(() =>
            moment === 'while the end is held back'
              ? { beforeEnd: () => (begun.resolve(), sealed.promise) }
              : {},
          ),
        ],
        async handler({ raw }) {
          if (moment !== 'before the answer') raw((res) => void res.write('one'))
          if (moment === 'while the end is held back') raw((res) => void res.end('two'))
          begun.resolve()
          await end.promise
        },
      })
      const req = request(app.url, { agent: false }).on('error', () => {})
      req.on('response', (res) => res.on('error', () => {}).resume())
      req.end()
      await begun.promise
      if (moment !== 'before the answer') await once(req, 'response')
      req.destroy()
      expect((await end.promise).finished).toBe(false)
      sealed.resolve()
    },
  )

  it('does not go on when the client went away in the meantime', async () => {
    const order: unknown[] = []
    const begun = signal()
    const gone = signal()
    const notified = signal()
    const app = await start({
      stack: [
        feature(() => ({ onFinish: () => gone.resolve() })),
        feature(async () => {
          begun.resolve()
          await gone.promise
          return {
            onFinish(end) {
              order.push(end.finished)
              notified.resolve()
            },
          }
        }),
      ],
      handler: () => void order.push('asked'),
    })
    const req = request(app.url, { agent: false }).on('error', () => {})
    req.end()
    await begun.promise
    req.destroy()
    await notified.promise
    await new Promise(setImmediate)
    expect(order).toEqual([false])
  })

  it('exposes names', async () => {
    const app = await start({
      stack: [feature(() => ({ state: { user: { name: 'Ada' } } }))],
      handler: ({ exposed, send }) => send(200, exposed.user.name),
    })
    expect((await ask(app)).text).toBe('Ada')
  })

  it('goes on at once after a plan that is no promise', async () => {
    const order: string[] = []
    const app = await start({
      stack: [
        feature(() => {
          void Promise.resolve().then(() => order.push('a tick later'))
          return {}
        }),
      ],
      handler({ send }) {
        order.push('handler')
        send(200, '')
      },
    })
    await ask(app)
    expect(order).toEqual(['handler', 'a tick later'])
  })

  it.each([true, false])('hands an error on (thrown at once: %s)', async (isSync) => {
    const error = Object.assign(new Error('no'), { status: 503 })
    const handle = (): Promise<object> => {
      if (isSync) throw error
      return Promise.reject(error)
    }
    const setup = { stack: [feature(handle)], handler: () => expect.unreachable() }
    expect(await ask(await start(setup))).toMatchObject({ status: 503 })
    const app = await start({ ...setup, onError: (error, { send }) => send(418, error.message) })
    expect(await ask(app)).toMatchObject({ status: 418, text: 'no' })
    expect(app.errors).toEqual([error])
  })

  it('reads a request, through one Exchange', async () => {
    const seen: Exchange[] = []
    const ips: string[] = []
    const look = feature((x) => {
      seen.push(x)
      ips.push(x.ip)
      return {}
    })
    const app = await start({ stack: [look, [look]], budgetMs: 50 })
    await ask(app, { method: 'POST', path: '/a?b=c', headers: { 'X-Two': ['1', '2'] } })
    const [x, again] = seen
    expect(x).toBe(again)
    expect([x?.method, x?.url, x?.route]).toEqual(['POST', '/a?b=c', undefined])
    expect(ips).toEqual(['127.0.0.1', '127.0.0.1'])
    expect(x?.header('x-two')).toBe('1, 2')
    expect(x?.header('x-three')).toBeUndefined()
    expect(x?.budget).toBe(x?.budget)
    expect(x?.budget.left(0)).toBe(50)
    expect(app.adapter.exchange(x?.native)).toBe(x)
  })

  it('names the middleware after the feature, and finds it again', async () => {
    const adapter = kind === 'koa' ? koaAdapter(options) : connectAdapter(options)
    const probe = feature(() => ({}), { name: 'rateLimit' })
    const middleware: any = adapter.mount(probe)
    expect(middleware.name).toBe('rateLimit')
    expect(middleware.length).toBeLessThan(4)
    expect(featureOf(middleware)).toBe(probe)
    expect(featureOf(() => {})).toBeUndefined()
    expect(featureOf(undefined)).toBeUndefined()
  })
})

describe('node:http without anybody to handle errors', () => {
  const error = Object.assign(new Error('come back later'), { status: 503, expose: true })
  const plans: [string, () => any][] = [
    ['a feature', () => Promise.reject(error)],
    ['work before the end', () => ({ beforeEnd: () => Promise.reject(error) })],
    ['a member of a pipeline', () => Promise.reject(error)],
  ]
  it.each(plans)('answers the failure of %s itself', async (what, handle) => {
    const { mount, pipeline } = connectAdapter(options)
    const probe = mount(feature(handle))
    const middleware = what.includes('pipeline') ? pipeline([probe]) : probe
    let asked = 0
    const server = createServer((req, res) => {
      middleware(req, res, () => {
        asked += 1
        res.setHeader('ETag', '"1"')
        res.end('hello')
      })
    }).listen(0)
    const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const answer = await ask({ url })
    server.close()
    expect(answer).toMatchObject({ status: 503, complete: true })
    expect(answer.headers).toMatchObject({ 'content-type': 'application/problem+json' })
    expect(answer.headers).not.toHaveProperty('etag')
    expect(JSON.parse(answer.text)).toEqual({
      title: 'Service Unavailable',
      status: 503,
      detail: 'come back later',
    })
    expect(asked).toBe(what === 'work before the end' ? 1 : 0)
  })
})

it('works beside supertest as it is used', async () => {
  const { mount } = connectAdapter(options)
  const app = express()
  app.use(mount(feature(async () => ({ headers: () => ({ 'X-Ours': '1' }) }))))
  app.get('/', (_req, res) => void res.json({ a: 1 }))
  await supertest(app).get('/').expect(200, { a: 1 }).expect('x-ours', '1')
})
