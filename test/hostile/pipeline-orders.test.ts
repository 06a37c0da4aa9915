/** Attack: Redis dies under a pipeline. No order of its members, and no end of it, leaves a rejection unhandled. */
import { once } from 'node:events'
import { Agent, createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import express from 'express'
import Koa from 'koa'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { turnpike as forExpress } from '../../src/express.ts'
import { turnpike as forKoa } from '../../src/koa.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'

let server: RedisServer
const unhandled: unknown[] = []
const note = (reason: unknown): void => void unhandled.push(reason)

beforeAll(async () => {
  server = await startRedis()
  process.on('unhandledRejection', note)
})
afterAll(async () => {
  process.off('unhandledRejection', note)
  server.thaw()
  await server.restart()
  await expectEveryKeyToExpire(server)
  await server.stop()
})

function* permutations<Item>(items: readonly Item[]): Generator<Item[]> {
  if (items.length === 0) yield []
  for (const [i, first] of items.entries())
    for (const rest of permutations([...items.slice(0, i), ...items.slice(i + 1)]))
      yield [first, ...rest]
}

const OWN = ['session', 'limit', 'cache', 'idempotency', 'concurrency'] as const
/** What a member of the application does when it has its turn, some time after all have prepared. */
const ENDS = ['goes on', 'answers', 'throws', 'rejects'] as const

/** Every order of our members, each with a member of the application at every place. */
const pipelines = [...permutations(OWN)].flatMap((order, i) =>
  Array.from({ length: OWN.length + 1 }, (_, place) => ({
    order,
    place,
    end: ENDS[(i + place) % ENDS.length]!,
  })),
)

const membersOf = (tp: any): Record<(typeof OWN)[number], unknown> => ({
  session: tp.session({ secret: 'a secret that is long enough 123' }),
  limit: tp.rateLimit({ limit: 1_000_000, window: '1m', fail: 'closed' }),
  cache: tp.cache({ ttl: '1m', public: true }),
  idempotency: tp.idempotency({ ttl: '1m', scope: () => 'me' }),
  concurrency: tp.concurrency({ limit: 1000, lease: '2s' }),
})

const OPTIONS = { commandTimeout: 40, requestBudget: 60, logger: false } as const

const frameworks = [
  {
    name: 'Express 5',
    start(url: string) {
      const tp = forExpress({ redis: url, ...OPTIONS })
      const members: Record<string, any> = membersOf(tp)
      const foreign = (end: string) => (_req: unknown, res: any, next: any) => {
        if (end === 'rejects') return sleep(2).then(() => Promise.reject(new Error('rejected')))
        setTimeout(() => {
          if (end === 'goes on') next()
          else if (end === 'answers') res.status(418).end()
          else next(new Error('thrown'))
        }, 2)
        return undefined
      }
      const app = express()
      const stacks = pipelines.map(({ order, place, end }) =>
        tp.pipeline(
          ...(order.map((name) => members[name]).toSpliced(place, 0, foreign(end)) as [any]),
        ),
      )
      app.use((req, res, next) => stacks[Number(req.path.slice(1))]!(req, res, next))
      app.use((_req, res) => void res.send('ok'))
      app.use(
        (error: any, _req: any, res: any, _next: any) => void res.status(error.status ?? 500).end(),
      )
      return { tp, listener: app }
    },
  },
  {
    name: 'Koa 3',
    start(url: string) {
      const tp = forKoa({ redis: url, ...OPTIONS })
      const members: Record<string, any> = membersOf(tp)
      const foreign = (end: string) => async (ctx: any, next: any) => {
        await sleep(2)
        if (end === 'goes on') await next()
        else if (end === 'answers') ctx.status = 418
        else throw new Error('thrown')
      }
      const stacks = pipelines.map(({ order, place, end }) =>
        tp.pipeline(
          ...(order.map((name) => members[name]).toSpliced(place, 0, foreign(end)) as [any]),
        ),
      )
      const app = new Koa()
      app.silent = true
      app.use((ctx, next) => stacks[Number(ctx.path.slice(1))]!(ctx, next))
      app.use((ctx) => void (ctx.body = 'ok'))
      return { tp, listener: app.callback() }
    },
  },
]

describe.each(frameworks)('$name', ({ start }) => {
  it.each(['frozen', 'killed', 'killed while they run'] as const)(
    `attack: ${pipelines.length} pipelines while Redis is %s`,
    async (fault) => {
      server.thaw()
      await server.restart()
      const { tp, listener } = start(server.url)
      const web = createServer(listener as never).listen(0, '127.0.0.1')
      const agent = new Agent({ keepAlive: true, maxSockets: 100 })
      onTestFinished(async () => {
        agent.destroy()
        web.closeAllConnections()
        web.close()
        await tp.close()
      })
      await once(web, 'listening')
      await tp.ready()
      const { port } = web.address() as AddressInfo
      let count = 0
      /** Each sixth client leaves. */
      async function ask(i: number): Promise<number> {
        const headers = { 'idempotency-key': `k${i}-${count++}`, cookie: 'sid=s%3Ax.y' }
        const method = i % 2 === 0 ? 'GET' : 'POST'
        const req = request({ port, path: `/${i}`, method, headers, agent }).end()
        if (i % 6 === 0) setTimeout(() => req.destroy(), 3)
        const answered = once(req, 'response').catch(() => [])
        const [res] = await answered
        if (!res) return 0
        res.resume()
        await once(res, 'close')
        return res.statusCode
      }
      if (fault === 'frozen') server.freeze()
      if (fault === 'killed') await server.kill()
      const answers = Promise.all(pipelines.map((_, i) => ask(i)))
      if (fault === 'killed while they run') await server.kill()
      const statuses = new Set(await answers)
      // Calls in progress end by their timeouts.
      await sleep(100)
      expect(unhandled.splice(0)).toEqual([])
      expect(statuses).toContain(503)
      for (const status of statuses) expect([0, 200, 418, 500, 503]).toContain(status)
    },
  )
})
