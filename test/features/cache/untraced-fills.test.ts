/** What a process pays for that sends requests to itself. In a file of its own: it never stops once it has begun. */
import { expect, test } from 'vitest'
import { isTracingFills } from '../../../src/caching/fill-context.ts'
import { testStore } from '../../../src/testing.ts'
import { until } from '../../support/until.ts'
import { kinds, type App, type Handler } from './support.ts'

const read = async (url: URL): Promise<string> => await (await fetch(url)).text()
const start = async (handler: Handler): Promise<App> =>
  await kinds[0]!.start({ options: { store: testStore() }, cache: { ttl: '1m' }, handler })

test('requests of a process to itself cost nothing more until a handler may have sent one', async () => {
  const app: App = await start(async ({ url, send }) => {
    send(200, url === '/outer' ? await read(new URL('/inner', app.url)) : url)
  })
  expect(await read(new URL('/page', app.url))).toBe('/page')
  expect(await read(new URL('/page', app.url))).toBe('/page')
  await until('its fill has ended', () => app.tp.cache.stats().stored === 1)
  expect(await read(new URL('/login', app.url))).toBe('/login')
  expect(isTracingFills()).toBe(false)
  expect(await read(new URL('/outer', app.url))).toBe('/inner')
  expect(isTracingFills()).toBe(true)
})
