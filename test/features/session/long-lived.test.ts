/** Sockets, event streams and jobs: a session that is saved again and again, and one that is changed before or during a stream. */
import { EventEmitter, once } from 'node:events'
import { request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { testStore } from '../../../src/testing.ts'
import { apps, type App } from '../../support/apps.ts'
import { cookiesOf, pause, site, type SiteOptions } from './support.ts'

/** A store that answers after a while, by the clock of this process. */
function slowStore(ms: number) {
  const store = testStore()
  const run = store.run.bind(store)
  const calls: { name: string; budget: unknown }[] = []
  store.run = (async (operation: any, keys: any, args: any, budget: any) => {
    calls.push({ name: operation.name, budget })
    if (ms > 0) await pause(ms)
    return (run as any)(operation, keys, args, budget)
  }) as typeof run
  return { store, calls }
}

describe.each(apps)('$name', (kind) => {
  const isKoa = kind.name.startsWith('Koa')
  const start = (store: any, options: SiteOptions = {}): ReturnType<typeof site> =>
    site(kind, { store, prefix: 'tp' }, options)

  test('a request that saves 2,000 times, as a socket or an event stream does, uses no budget for it', async () => {
    const { store, calls } = slowStore(0)
    const app = start(store, {
      routes: {
        '/stream': async ({ session }) => {
          for (let i = 1; i <= 2000; i++) {
            session.count = i
            await session.save()
          }
          await session.reload()
          return { count: session.count }
        },
      },
    })
    const someone = app.browser()
    await someone.get('/set?key=a&value=1')
    calls.length = 0
    expect((await someone.get('/stream')).status).toBe(200)
    expect(await someone.json('/')).toEqual({ a: '1', count: 2000 })
    const saves = calls.filter(({ name }) => name === 'session.save')
    expect(saves).toHaveLength(2000)
    expect(saves.every(({ budget }) => budget === undefined)).toBe(true)
  })

  test('login, logout, regenerate and destroy use no budget; the load and the save at the end do', async () => {
    const { store, calls } = slowStore(0)
    const app = start(store, {
      routes: {
        '/regenerate': async (native) => {
          await native.session.regenerate()
          native.session.a = 1
          return {}
        },
        '/destroy': async (native) => {
          await native.session.destroy()
          return {}
        },
      },
    })
    const someone = app.browser()
    await someone.get('/set?key=a&value=1')
    const budgeted = async (path: string): Promise<string[]> => {
      calls.length = 0
      await someone.get(path)
      return calls.filter(({ budget }) => budget !== undefined).map(({ name }) => name)
    }
    expect(await budgeted('/login')).toEqual(['session.load'])
    expect(await budgeted('/count')).toEqual(['session.load', 'session.save'])
    expect(await budgeted('/logout')).toEqual(['session.load'])
    await someone.get('/set?key=a&value=1')
    const regenerate = await budgeted('/regenerate')
    expect(regenerate.filter((name) => name !== 'session.save')).toEqual(['session.load'])
    expect(await budgeted('/destroy')).toEqual(['session.load'])
  })

  /** Writes a stream in the framework's own way, and says when it may go on. */
  function streaming(before: (session: any) => void, during: (session: any) => void) {
    const steps = new EventEmitter()
    const terminal = async (native: any, res: any): Promise<void> => {
      before(native.session)
      const body = new PassThrough()
      if (isKoa) {
        native.type = 'text/event-stream'
        native.body = body
      } else {
        res.setHeader('Content-Type', 'text/event-stream')
        body.pipe(res)
      }
      body.write('data: 1\n\n')
      steps.once('go', () => {
        during(native.session)
        body.end('data: 2\n\n')
      })
    }
    const after = (): any[] => [
      isKoa
        ? (ctx: any, next: any) => (ctx.path === '/stream' ? terminal(ctx, ctx.res) : next())
        : (req: any, res: any, next: any) =>
            req.url === '/stream' ? void terminal(req, res) : next(),
    ]
    return { after, go: () => steps.emit('go') }
  }

  /** Asks for a stream: resolves with its first piece. */
  async function open(app: App, cookie: string | undefined): Promise<any> {
    const { port } = app.server.address() as AddressInfo
    return await new Promise((resolve, reject) => {
      const headers = cookie === undefined ? {} : { Cookie: `sid=${cookie}` }
      httpRequest({ port, host: '127.0.0.1', path: '/stream', headers }, (response) => {
        response.once('data', () => resolve(response))
        response.resume()
      })
        .on('error', reject)
        .end()
    })
  }

  test('a session changed before a stream is stored, and its cookie sent, when the head goes out', async () => {
    const { store } = slowStore(5)
    const { after, go } = streaming(
      (session) => (session.before = true),
      () => {},
    )
    const app = start(store, { after })
    await once(app.server, 'listening')
    const response = await open(app, undefined)
    const [cookie] = cookiesOf(response)
    expect(cookie).toMatch(/^sid=/)
    const value = /^sid=([^;]+)/.exec(cookie!)![1]
    expect((await app.get('/', { Cookie: `sid=${value}` })).text).toBe('{"before":true}')
    go()
    await new Promise((resolve) => response.once('end', resolve))
  })

  test('and what is changed during the stream is stored at its end', async () => {
    const { store } = slowStore(0)
    const { after, go } = streaming(
      (session) => (session.before = true),
      (session) => (session.during = true),
    )
    const app = start(store, { after })
    await once(app.server, 'listening')
    const someone = app.browser()
    await someone.get('/set?key=a&value=1')
    const response = await open(app, someone.cookie())
    expect(await someone.json('/')).toEqual({ a: '1', before: true })
    go()
    await new Promise((resolve) => response.once('end', resolve))
    expect(await someone.json('/')).toEqual({ a: '1', before: true, during: true })
  })

  test('a session that begins only during a stream is not stored: no client could know it', async () => {
    const { store, calls } = slowStore(0)
    const { after, go } = streaming(
      () => {},
      (session) => (session.during = true),
    )
    const app = start(store, { after })
    await once(app.server, 'listening')
    const response = await open(app, undefined)
    go()
    await new Promise((resolve) => response.once('end', resolve))
    expect(calls).toEqual([])
  })

  test('a login during a stream is refused: the client could not learn its id', async () => {
    const { store } = slowStore(0)
    let login: Promise<unknown> | undefined
    const app: ReturnType<typeof site> = start(store, {
      after: (tp) => {
        const terminal = (native: any, res: any): void => {
          const body = new PassThrough()
          if (isKoa) native.body = body
          else body.pipe(res)
          body.write('1')
          setTimeout(() => {
            login = tp.session.login(native, 'ada').catch((error: any) => error.code)
            body.end()
          }, 20)
        }
        return [isKoa ? (ctx: any) => terminal(ctx, ctx.res) : terminal]
      },
    })
    await app.get('/stream')
    expect(await login).toBe('TP_OPTION')
  })
})
