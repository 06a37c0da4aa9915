import { request } from 'node:http'
import express from 'express'
import express4 from 'express4'
import supertest from 'supertest'
import { describe, expect, it } from 'vitest'
import { connectAdapter } from '../../src/http/connect.ts'
import { koaAdapter } from '../../src/http/koa.ts'
import { ask, feature, frameworks, signal, type AnyFeature, type Foreign } from './harness.ts'

const options = { budgetMs: 100, warn: () => {} }

/** A feature that writes down what is asked of it. */
function noted(log: string[], name: string, rest: Partial<AnyFeature> = {}): AnyFeature {
  return {
    name,
    prepare() {
      log.push(`prepare ${name}`)
      return Promise.resolve(name)
    },
    async handle(_, early) {
      log.push(`handle ${name} ${await early}`)
      return {}
    },
    discard: (early: Promise<string>) => void early.then(() => log.push(`discard ${name}`)),
    ...rest,
  }
}

describe.each(frameworks)('a pipeline on $name', ({ start, kind }) => {
  const others: Foreign = { foreign: () => {} }

  it('prepares in one tick, and handles in order', async () => {
    const log: string[] = []
    let tick = ''
    const first = noted(log, 'a', {
      prepare() {
        log.push('prepare a')
        tick = 'the same'
        queueMicrotask(() => (tick = 'another'))
        return 'a'
      },
    })
    const last = noted(log, 'c', {
      prepare() {
        log.push(`prepare c in ${tick} tick`)
        return 'c'
      },
    })
    const plain = feature((_, early) => {
      log.push(`handle plain ${early}`)
      return {}
    })
    const app = await start({
      stack: [[first, others, [noted(log, 'b'), plain], last]],
      handler({ send }) {
        log.push('handler')
        send(200, 'hello')
      },
    })
    expect((await ask(app)).text).toBe('hello')
    expect(log).toEqual([
      'prepare a',
      'prepare b',
      'prepare c in the same tick',
      'handle a a',
      'handle b b',
      'handle plain undefined',
      'handle c c',
      'handler',
    ])
  })

  const stops: [string, AnyFeature | Foreign, number][] = [
    ['one of ours answers', feature(async () => ({ reply: { status: 429 } })), 429],
    ['one of ours answers at once', feature(() => ({ reply: { status: 429 } })), 429],
    ['one of ours fails', feature(() => Promise.reject(new Error('no'))), 500],
    [
      'another answers',
      {
        foreign({ send }) {
          send(403, 'no')
          return 'answer'
        },
      },
      403,
    ],
    ['another fails', { foreign: () => new Error('no') }, 500],
    ['another rejects', { foreign: () => Promise.reject(new Error('no')) }, 500],
  ]
  it.each(stops)('discards what is behind when %s', async (_, stop, status) => {
    const log: string[] = []
    const discarded = signal()
    const last = noted(log, 'last', { discard: () => discarded.resolve() })
    const app = await start({
      stack: [[noted(log, 'first'), stop, noted(log, 'behind'), last]],
      handler: () => expect.unreachable(),
    })
    expect((await ask(app)).status).toBe(status)
    await discarded.promise
    expect(log).toEqual([
      'prepare first',
      'prepare behind',
      'prepare last',
      'handle first first',
      'discard behind',
    ])
  })

  it('discards when the client goes away', async () => {
    const log: string[] = []
    const begun = signal()
    const gone = signal()
    const discarded = signal()
    const waiting = feature(async () => {
      begun.resolve()
      await gone.promise
      return {}
    })
    const app = await start({
      stack: [
        feature(() => ({ onFinish: () => gone.resolve() })),
        [waiting, noted(log, 'behind', { discard: () => discarded.resolve() })],
      ],
      handler: () => expect.unreachable(),
    })
    const req = request(app.url, { agent: false }).on('error', () => {})
    req.end()
    await begun.promise
    req.destroy()
    await discarded.promise
    expect(log).toEqual(['prepare behind'])
  })

  it('does not let a prepared failure crash the process while its member waits', async () => {
    const late = noted([], 'late', {
      prepare: () => Promise.reject(new Error('prepared badly')),
      handle: (_, early) => early,
    })
    const slow = feature(async () => {
      await new Promise(setImmediate)
      return {}
    })
    const app = await start({
      stack: [[slow, late]],
      onError: (e, { send }) => send(503, e.message),
    })
    expect(await ask(app)).toMatchObject({ status: 503, text: 'prepared badly' })
  })

  it('discards what was prepared before a prepare that throws', async () => {
    const log: string[] = []
    const bad = noted(log, 'bad', {
      prepare() {
        throw new Error('bad')
      },
    })
    const app = await start({ stack: [[noted(log, 'a'), bad]] })
    expect(await ask(app)).toMatchObject({ status: 500 })
    expect(log).toEqual(['prepare a', 'discard a'])
  })

  it('works out all members of the response', async () => {
    const app = await start({
      stack: [
        [
          feature(() => ({ headers: () => ({ 'X-One': '1' }) })),
          'compression',
          feature(() => ({ headers: () => ({ 'X-Two': '2' }), beforeEnd: async () => {} })),
        ],
      ],
    })
    const answer = await ask(app, { headers: { 'accept-encoding': 'gzip' } })
    expect(answer).toMatchObject({ text: 'hello', headers: { 'x-one': '1', 'x-two': '2' } })
  })

  it('is checked when it is made', () => {
    const { pipeline }: any = kind === 'koa' ? koaAdapter(options) : connectAdapter(options)
    const refused = (text: string) => expect.objectContaining({ code: 'TP_OPTION', message: text })
    expect(() => pipeline([() => {}, undefined])).toThrow(
      refused('pipeline: member 2 is undefined, not a function.'),
    )
    expect(() => pipeline([(_e: any, _q: any, _s: any, _n: any) => {}])).toThrow(/handles errors/)
    expect(pipeline([]).name).toBe('pipeline')
  })

  it('passes when it is empty', async () => {
    expect((await ask(await start({ stack: [[]] }))).text).toBe('hello')
  })
})

describe.each([
  ['Express 4', express4],
  ['Express 5', express],
])('a pipeline in %s', (_, express: any) => {
  it.each(['route', 'router'])("lets others leave by next('%s')", async (way) => {
    const { mount, pipeline } = connectAdapter(options)
    const discarded = signal()
    const behind = noted([], 'behind', { discard: () => discarded.resolve() })
    const leave = (_req: any, _res: any, next: any): void => next(way)
    const router = express.Router()
    router.get('/', pipeline([leave, mount(behind)]), () => expect.unreachable())
    router.get('/', (_req: any, res: any) => res.send('next route'))
    const app = express().use(router)
    app.use((_req: any, res: any) => res.send('next router'))
    await supertest(app).get('/').expect(`next ${way}`)
    await discarded.promise
  })

  it('takes a router as a member', async () => {
    const { pipeline } = connectAdapter(options)
    const router = express.Router().get('/', (_req: any, res: any) => res.send('routed'))
    const app = express().use(pipeline([router]))
    await supertest(app).get('/').expect('routed')
    await supertest(app).get('/else').expect(404)
  })

  it('hands on an error that comes after the response, once', async () => {
    const { mount, pipeline } = connectAdapter(options)
    const reported = signal<string>()
    const finalizer = feature(() => ({ beforeEnd: () => Promise.reject(new Error('not saved')) }))
    const app = express().use(pipeline([mount(finalizer)]))
    app.get('/', (_req: any, res: any) => res.send('hello'))
    app.use((error: Error, _req: any, res: any, _next: any) => {
      reported.resolve(error.message)
      res.status(500).send('failed')
    })
    await supertest(app).get('/').expect(500, 'failed')
    expect(await reported.promise).toBe('not saved')
  })
})
