/** What a decision costs on the wire: one command, one write, one round trip, however many windows it spans. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { turnpike } from '../../src/node.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.ts'
import { express5, koa3, type AnyTurnpike } from '../support/serve.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'
import { until } from '../support/until.ts'

let server: RedisServer
let proxy: FaultProxy

beforeAll(async () => {
  server = await startRedis()
  proxy = await startFaultProxy(server.port)
})
afterAll(async () => {
  await proxy.close()
  await expectEveryKeyToExpire(server)
  await server.stop()
})

const windows = (name: string) => ({
  name,
  policies: [
    { name: 'minute', limit: 60, window: '1m' },
    { name: 'hour', limit: 1000, window: '1h' },
    { name: 'day', limit: 10_000, window: '1d' },
  ] as const,
})

/** Waits until the connection is up, its own commands are answered, and Redis knows the scripts. */
async function settled(tp: Pick<AnyTurnpike, 'ready'>, use: () => Promise<unknown>): Promise<void> {
  proxy.forget()
  await tp.ready()
  await use()
  await until('its own commands are answered', () =>
    ['TIME', 'INFO'].every((name) => proxy.traffic.commands.includes(name)),
  )
  await use()
  proxy.forget()
}

const ONE = { writes: 1, commands: ['EVALSHA'], roundTrips: 1 }

describe('a decision over three windows', () => {
  it('is one command in one write', async () => {
    await using tp = turnpike({ redis: proxy.url, commandTimeout: 2000 })
    const { policies } = windows('call')
    const limiter = tp.limiter('call', { policies })
    await settled(tp, () => limiter.consume('me'))
    const decision = await limiter.consume('me')
    expect(decision.policies).toHaveLength(3)
    expect(decision.source).toBe('store')
    expect(proxy.traffic).toMatchObject(ONE)
  })

  it.each([express5, koa3])(
    'is one command in one write in a request, too ($name)',
    async (framework) => {
      const app = await framework.serve({
        options: { redis: proxy.url, commandTimeout: 2000, requestBudget: 2000 },
        routes: (tp) => ({
          '/one': tp.rateLimit(windows('one')),
          '/two': tp.pipeline(tp.rateLimit(windows('first')), tp.rateLimit(windows('second'))),
        }),
      })
      onTestFinished(() => app.tp.close())
      await settled(app.tp, async () => [await app.get('/one'), await app.get('/two')])
      expect((await app.get('/one')).status).toBe(200)
      expect(proxy.traffic).toMatchObject(ONE)
      proxy.forget()
      // Two limits in a pipeline ask side by side.
      expect((await app.get('/two')).status).toBe(200)
      expect(proxy.traffic).toMatchObject({
        writes: 1,
        commands: ['EVALSHA', 'EVALSHA'],
        roundTrips: 1,
      })
    },
  )

  it('sends nothing while the deny cache holds its refusal', async () => {
    await using tp = turnpike({ redis: proxy.url, commandTimeout: 2000 })
    const limiter = tp.limiter('remembered', { limit: 1, window: '1h', denyCache: true })
    await settled(tp, () => limiter.consume('me'))
    for (let i = 0; i < 10; i++) expect((await limiter.consume('me')).source).toBe('deny-cache')
    expect(proxy.traffic.commands.filter((name) => name.startsWith('EVAL'))).toEqual([])
  })
})
