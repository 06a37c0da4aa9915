/** A browser and an application with sessions, in any framework. */
import type { Response } from 'supertest'
import type { App, AppKind } from '../../support/apps.ts'
import { durationOption } from '../../../src/duration.ts'
import type { EngineUnderTest, Opened } from '../../support/engines.ts'

export const SECRET = 'a secret of the tests'

/** What a route does: `native` is req or ctx. Its result is the body. */
export type Route = (native: any, tp: any) => unknown

export interface Site extends App {
  /** A browser of its own, without cookies at first. */
  browser(): Browser
}

/** Keeps cookies as a browser does, as far as it matters here. */
export interface Browser {
  jar: Map<string, string>
  get(path: string, headers?: Record<string, string>): Promise<Response>
  /** The body of a route's answer, parsed. */
  json(path: string): Promise<any>
  /** The value of the only cookie. */
  cookie(): string | undefined
}

export interface SiteOptions {
  session?: object
  routes?: Record<string, Route>
  /** Mounted in place of `tp.session()`. */
  mount?(tp: any, options: object): any
  /** More middlewares: those in front and those behind. */
  before?(tp: any): any[]
  after?(tp: any): any[]
  instance?: object
  trustProxy?: boolean | number
}

/** The data of a session. Its cookie is among its own properties, as in express-session. */
export function dataOf(session: { cookie?: unknown }): object {
  const { cookie: _cookie, ...data } = session
  return data
}

/** Routes that most tests use. */
export const ROUTES: Record<string, Route> = {
  '/': ({ session }) => dataOf(session),
  '/id': (native) => ({ id: native.session.id, sessionID: native.sessionID }),
  '/count': ({ session }) => ({ count: (session.count = (session.count ?? 0) + 1) }),
  '/login': async (native, tp) => {
    await tp.session.login(native, queryOf(native, 'user') ?? 'ada')
    return { id: native.session.id }
  },
  '/logout': async (native, tp) => {
    await tp.session.logout(native)
    return {}
  },
  '/set': (native) => {
    native.session[queryOf(native, 'key') as string] = queryOf(native, 'value')
    return {}
  },
}

export const queryOf = (native: any, name: string): string | undefined =>
  new URL(native.originalUrl ?? native.url, 'http://x').searchParams.get(name) ?? undefined

export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms))

function sessions(tp: any, options: object): any {
  return tp.session(options)
}

export function site(
  kind: AppKind,
  opened: Pick<Opened, 'store' | 'prefix'>,
  options: SiteOptions = {},
): Site {
  const {
    session = {},
    routes = {},
    mount = sessions,
    before = () => [],
    after = () => [],
    instance = {},
    trustProxy,
  } = options
  const all: Record<string, Route> = { ...ROUTES, ...routes }
  const app = kind.start({
    options: { store: opened.store, prefix: opened.prefix, ...instance },
    mount: (tp) => [
      ...before(tp),
      mount(tp, { secret: SECRET, cookie: { secure: false }, ...session }),
      ...after(tp),
    ],
    handle: async (native) => {
      const path = String(native.originalUrl ?? native.url).split('?', 1)[0]!
      const route = all[path]
      if (!route) return [404, 'no such route']
      return [200, (await route(native, app.tp)) as object]
    },
    ...(trustProxy !== undefined && { trustProxy }),
  })
  return Object.assign(app, { browser: () => browser(app) })
}

export function browser(app: Pick<App, 'get'>): Browser {
  const jar = new Map<string, string>()
  async function get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    const sent = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await app.get(path, { ...(sent && { Cookie: sent }), ...headers })
    keep(jar, response)
    return response
  }
  return {
    jar,
    get,
    json: async (path) => JSON.parse((await get(path)).text),
    cookie: () => [...jar.values()][0],
  }
}

function keep(jar: Map<string, string>, response: Response): void {
  for (const field of cookiesOf(response)) {
    const [pair = '', ...attributes] = field.split('; ')
    const at = pair.indexOf('=')
    const expires = attributes.find((each) => each.startsWith('Expires='))?.slice('Expires='.length)
    const isOver = expires !== undefined && Date.parse(expires) === 0
    if (isOver) jar.delete(pair.slice(0, at))
    else jar.set(pair.slice(0, at), pair.slice(at + 1))
  }
}

/** The Set-Cookie fields of an answer. */
export const cookiesOf = ({ headers }: Response): string[] =>
  (headers['set-cookie'] as unknown as string[] | undefined) ?? []

/** The keys of a Redis server that begin with `prefix`. */
export async function keysOf(
  server: { send(...command: string[]): Promise<string> },
  prefix: string,
): Promise<string[]> {
  const reply = await server.send('KEYS', `${prefix}*`)
  return reply.split('\r\n').filter((line) => line.startsWith(prefix))
}

const AGE = `local ms = tonumber(ARGV[2])
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  redis.call('PEXPIRE', key, math.max(redis.call('PTTL', key) - ms, 0))
end
return 1`

/** Turns the clock of an engine, and lets Redis's own keys grow older by as much: it expires them by its own clock. */
export function ageing({ open, server }: EngineUnderTest): () => Opened {
  return () => {
    const opened = open()
    const redis = server()
    if (!redis) return opened
    return {
      ...opened,
      async advance(time) {
        await opened.advance(time)
        await redis.send(
          'EVAL',
          AGE,
          '0',
          opened.prefix,
          String(durationOption(time, 'advance()', 'time')),
        )
      },
    }
  }
}

/** Holds a route up in its middle, so that a test can say what happens meanwhile. */
export interface Gate {
  /** In the route: wait here. */
  wait(): Promise<void>
  /** The route has come so far. */
  arrived: Promise<void>
  open(): void
}

export function gate(): Gate {
  let [arrive, open] = [(): void => {}, (): void => {}]
  const arrived = new Promise<void>((resolve) => (arrive = resolve))
  const opened = new Promise<void>((resolve) => (open = resolve))
  return {
    arrived,
    open: () => open(),
    wait: () => {
      arrive()
      return opened
    },
  }
}

/** Two requests of one browser, the second wholly within the first. */
export async function within(
  someone: Browser,
  outer: string,
  door: Gate,
  inner: string,
): Promise<Response[]> {
  const first = someone.get(outer)
  await door.arrived
  const second = await someone.get(inner)
  door.open()
  return [await first, second]
}
