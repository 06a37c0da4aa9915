/** Handlers that request their own application. Patience is endless: who waits for itself, stands still. */
import { execFile } from 'node:child_process'
import { Agent, get as httpGet } from 'node:http'
import { promisify } from 'node:util'
import { afterAll, describe, expect, test } from 'vitest'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { counting, kinds, statusOf, type AnyTurnpike, type App, type Handler } from './support.ts'

const ENDLESS = { ttl: '10m', wait: '5m', lease: '5m', jitter: 0 } as const
const engines = bothEngines()
const agent = new Agent({ keepAlive: true })
afterAll(() => agent.destroy())

type Client = (url: string, headers?: Record<string, string>) => Promise<string>
const viaHttp =
  (options: object): Client =>
  (url, headers = {}) =>
    new Promise((resolve, reject) => {
      const request = httpGet(url, { headers, ...options }, (response) => {
        let text = ''
        response.on('data', (chunk) => (text += String(chunk)))
        response.on('end', () => resolve(`${String(response.headers['cache-status'])} | ${text}`))
      })
      request.on('error', reject)
    })
const viaFetch: Client = async (url, headers = {}) => {
  const response = await fetch(url, { headers })
  return `${response.headers.get('cache-status')} | ${await response.text()}`
}
const clients: [string, Client][] = [
  ['fetch', viaFetch],
  ['node:http', viaHttp({})],
  ['node:http with kept connections', viaHttp({ agent })],
]

const LOOP = 'turnpike; fwd=bypass; detail=loop'
const start = async (open: (typeof engines)[0]['open'], kind: (typeof kinds)[0], setup: Setup) => {
  const { store, prefix } = open()
  const options = { store, prefix, requestBudget: '9s' } as const
  return await kind.start({
    options,
    ...setup,
    cache: setup.cache ?? ((tp) => [tp.cache(ENDLESS)]),
  })
}
interface Setup {
  handler: Handler
  cache?: (tp: AnyTurnpike) => any[]
}

test('the first request that a process sends to itself does not wait for itself, either', async () => {
  let app: App | undefined
  const handler = counting(async ({ header, send }) => {
    if (header('x-inner') !== undefined) return send(200, 'inner')
    return send(200, await viaFetch(app!.url.href, { 'x-inner': '1' }))
  })
  app = await start(engines[0]!.open, kinds[0]!, { handler })
  // From another process: this one has not requested anything yet.
  const script = `fetch('${app.url.href}').then(async (r) => process.stdout.write(await r.text()))`
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', script])
  expect(stdout).toMatch(/inner$/)
  expect(handler.calls).toBe(2)
})

describe.each(engines)('on the $name engine', ({ open }) => {
  describe.each(kinds)('$name', (kind) => {
    test.each(clients)(
      'a handler that requests its own URL gets an answer: by %s',
      async (_by, send) => {
        let app: App | undefined
        const handler = counting(async (tools) => {
          if (tools.header('x-inner') !== undefined) return tools.send(200, 'inner')
          return tools.send(200, await send(app!.url.href, { 'x-inner': '1' }))
        })
        app = await start(open, kind, { handler })
        expect((await app.get()).text).toBe(`${LOOP} | inner`)
        await until('it is stored', () => app.tp.cache.stats().stored === 1)
        // The inner response was not stored in the place of the outer one.
        expect((await app.get()).text).toBe(`${LOOP} | inner`)
        expect(handler.calls).toBe(2)
      },
    )

    test.each(clients)('nor does one that does so by way of others: by %s', async (_by, send) => {
      let app: App | undefined
      const way = ['/b', '/c', '/a']
      const handler = counting(async ({ url, header, send: reply }) => {
        const hop = Number(header('x-hop') ?? 0)
        if (hop === way.length) return reply(200, 'the end')
        const next = await send(new URL(way[hop]!, app!.url).href, { 'x-hop': String(hop + 1) })
        return reply(200, `${url} ${next}`)
      })
      app = await start(open, kind, { handler })
      expect((await app.get('/a')).text).toContain(`${LOOP} | the end`)
    })

    test('other requests of this process wait for each other', async () => {
      let app: App | undefined
      const handler = counting(async ({ url, send }) => {
        if (url === '/part') {
          await new Promise((resolve) => setTimeout(resolve, 20))
          return send(200, `part ${handler.calls}`)
        }
        return send(200, await viaFetch(new URL('/part', app!.url).href))
      })
      app = await start(open, kind, { handler })
      const pages = Array.from({ length: 10 }, (_, page) => app.get(`/page/${page}`))
      for (const { text } of await Promise.all(pages)) expect(text).toMatch(/part \d+$/)
      // Ten pages, one part.
      expect(handler.calls).toBe(11)
    })

    test('what a handler started that outlives it is no part of it', async () => {
      let app: App | undefined
      let release: () => void = () => {}
      const later = new Promise<void>((resolve) => (release = resolve))
      let afterwards: Promise<string> | undefined
      const handler = counting(({ send }) => {
        afterwards ??= later.then(async () => await viaFetch(app!.url.href))
        send(200, `number ${handler.calls}`)
      })
      app = await start(open, kind, { handler })
      await app.get()
      await until('it is stored', () => app.tp.cache.stats().stored === 1)
      await app.tp.cache.clear()
      release()
      expect(await afterwards).toBe('turnpike; fwd=miss; stored | number 2')
    })

    test('a loader of tp.data that requests a route which needs its value fails at once', async () => {
      let app: App | undefined
      const load = async (): Promise<string> => await viaFetch(new URL('/inner', app!.url).href)
      const handler = counting(async ({ send }) => {
        try {
          send(200, await app!.tp.data.getOrFetch('value', load, { ttl: '1m', wait: '5m' }))
        } catch (error: any) {
          send(500, String(error.code))
        }
      })
      app = await start(open, kind, { handler })
      const { text } = await app.get('/outer')
      expect(text).toContain('TP_VALUE')
    })

    test('a cache outside of tp.data outside of the same cache does not wait', async () => {
      let app: App | undefined
      const handler = counting(async ({ header, send }) => {
        if (header('x-inner') !== undefined) return send(200, 'inner')
        const load = async (): Promise<string> => await viaFetch(app!.url.href, { 'x-inner': '1' })
        return send(200, await app!.tp.data.getOrFetch('value', load, { ttl: '1m', wait: '5m' }))
      })
      app = await start(open, kind, { handler })
      expect(statusOf(await app.get())).toBe('turnpike; fwd=miss; stored')
    })
  })
})
