/** A lease whose release is lost together with its reply delays no other caller. */
import { expect, onTestFinished, test } from 'vitest'
import { startRedis } from '../../src/testing.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { express5, koa3, type AnyTurnpike } from '../support/serve.ts'
import { until } from '../support/until.ts'

/** How long a caller would wait for another process, in ms. */
const PATIENCE = 30_000
/** Waits until all calls to Redis have timed out: two timeouts. */
const givenUp = () => new Promise((resolve) => setTimeout(resolve, 200))

async function behindProxy() {
  const server = await startRedis()
  const proxy = await startFaultProxy(server.port)
  onTestFinished(async () => {
    await proxy.close()
    await server.stop()
  })
  /** Redis has received the command, and its reply is lost. */
  const lose = (): void => {
    proxy.set({ mode: 'refuse' })
    proxy.reset()
  }
  return { proxy, lose, options: { redis: proxy.url, prefix: 'lost' } }
}

test.each([express5, koa3])(
  '$name: a page is made at once when Redis is back',
  async ({ serve }) => {
    const { proxy, lose, options } = await behindProxy()
    let isLost = false
    const routes = (tp: AnyTurnpike) => ({
      '/': tp.pipeline(
        tp.cache({ ttl: '1h', wait: PATIENCE, lease: PATIENCE }),
        (...native: any[]) => {
          if (isLost) lose()
          isLost = false
          return native.at(-1)()
        },
      ),
    })
    const app = await serve({ options, routes })
    await app.tp.ready()
    isLost = true
    proxy.set({ mode: 'stallDown' })
    expect((await app.get('/')).status).toBe(200)
    proxy.heal()
    await app.tp.ready()
    const began = performance.now()
    expect((await app.get('/')).status).toBe(200)
    await until('it is stored', async () =>
      String((await app.get('/')).headers['cache-status']).includes('hit'),
    )
    expect(performance.now() - began).toBeLessThan(PATIENCE / 2)
  },
)

test('a value is loaded at once when Redis is back', async () => {
  const { proxy, lose, options } = await behindProxy()
  const { tp } = await express5.serve({ options, routes: () => ({}) })
  await tp.ready()
  await tp.data.getOrFetch('first', () => 1)
  let isLost = true
  const load = (): number => {
    if (isLost) lose()
    isLost = false
    return 1
  }
  const get = () => tp.data.getOrFetch('key', load, { ttl: '1h', wait: PATIENCE, lease: PATIENCE })
  proxy.set({ mode: 'stallDown' })
  expect(await get()).toBe(1)
  await givenUp()
  proxy.heal()
  await tp.ready()
  const began = performance.now()
  expect(await get()).toBe(1)
  await until('it is stored', async () => (await tp.data.get('key')) === 1)
  expect(performance.now() - began).toBeLessThan(PATIENCE / 2)
})
