/** The full stack, turnpike's and the peers', in applications whose visitors have sessions. */
import { Redis } from 'ioredis'
import { ENOUGH, freshKey, WINDOWS } from './apps.mjs'
import { PATH, payload } from './payload.mjs'
import { expressPeers, koaPeers } from './peers.mjs'
import { data, loggedIn, rotating } from './sessions.mjs'

const LOGIN = '/login'
/** As many bytes in the header of those who need no session, so that reading it costs them the same. */
const STRANGER = `sid=${'0'.repeat(80)}`

/**
 * What an instance mounts: one window or three, with a cache, or with idempotency keys.
 * @param isNear sessions, limits and responses are read in the process, as long as the copies live
 */
function mounts({ turnpike, url, windows, method, isNear = false }) {
  const tp = turnpike({ redis: url, commandTimeout: '1s', requestBudget: '1s' })
  const policies = Object.keys(WINDOWS)
    .slice(0, windows)
    .map((window) => ({ limit: ENOUGH, window }))
  const near = isNear ? '2s' : undefined
  const session = tp.session({ secret: 'bench', cookie: { secure: false }, near })
  const last =
    method === 'post'
      ? tp.idempotency({ ttl: '24h', scope: tp.key.header('x-api-key') })
      : tp.cache({ ttl: '1h', public: true, tags: ['products'], near: isNear })
  return { tp, session, guards: [session, tp.rateLimit({ policies, lease: isNear }), last] }
}

const plural = (count) => `${count} ${count === 1 ? 'window' : 'windows'}`

/**
 * Variants that differ only in the middlewares before the handler.
 * @param build receives a function of the application that returns its middlewares, among them the session
 */
function stack({ group, method, build, turnpike, lowerBound, peers }) {
  const isPost = method === 'post'
  const last = isPost ? 'a new idempotency key' : 'cache hit'
  const own = isPost ? `${last} of an X-API-Key` : last
  const variants = {
    bare: { title: 'bare', serve: () => build(() => ({ guards: [] })) },
    ping: {
      title: 'one PING: the lower bound',
      serve: ({ url }) => build(() => ({ guards: [lowerBound(new Redis(url))] })),
    },
  }
  const pipeline = (options) =>
    build(() => {
      const { tp, session, guards } = mounts({ turnpike, method, ...options })
      return { session, guards: [tp.pipeline(...guards)] }
    })
  for (const windows of isPost ? [1] : [1, 3]) {
    const what = `session, ${plural(windows)}, ${last}`
    const ours = `session, ${plural(windows)}, ${own}`
    variants[`pipeline-${windows}`] = {
      title: `tp.pipeline(): ${ours}`,
      serve: ({ url }) => pipeline({ url, windows }),
    }
    variants[`separate-${windows}`] = {
      title: `mounted separately: ${ours}`,
      serve: ({ url }) => build(() => mounts({ turnpike, url, windows, method })),
    }
    variants[`peers-${windows}`] = {
      title: `peers: ${what}`,
      serve: ({ url }) => build((app) => peers(app, url, windows)),
    }
  }
  if (!isPost) {
    variants['near-3'] = {
      title: 'tp.pipeline(), no trip: session near, 3 windows leased, cache hit near',
      serve: ({ url }) => pipeline({ url, windows: 3, isNear: true }),
    }
  }
  return Object.fromEntries(
    Object.entries(variants).map(([name, variant]) => [
      name,
      { ...variant, group, method: method.toUpperCase() },
    ]),
  )
}

/** @param framework Express 4 or 5 */
export function expressStack(name, framework, turnpike, method = 'get') {
  function build(make) {
    const cookies = []
    const next = rotating(cookies)
    const app = framework()
    const { session, guards, isRepeated } = make(app)
    app.use((req, res, goOn) => {
      req.headers.cookie = next() ?? STRANGER
      if (method === 'post') req.headers['x-api-key'] = 'bench'
      goOn()
    })
    if (session) {
      app.post(LOGIN, session, (req, res) => {
        Object.assign(req.session, data())
        res.json({})
      })
    }
    const readers = method === 'post' ? [freshKey(), framework.json()] : []
    app[method](PATH, ...readers, ...guards, (req, res) => {
      if (isRepeated?.(req)) return
      if (session && req.session.userId === undefined) res.sendStatus(401)
      else res.json(payload())
    })
    return session ? loggedIn(app, cookies, { path: LOGIN, method: 'POST' }) : app
  }
  return stack({
    group: `${name}, ${method.toUpperCase()}`,
    method,
    build,
    turnpike,
    lowerBound: (redis) => async (req, res, goOn) => {
      await redis.ping()
      goOn()
    },
    peers(app, url, windows) {
      const peers = expressPeers(url)
      const session = peers.session()
      const before = [session, ...peers.limits(windows)]
      if (method === 'get') return { session, guards: [...before, peers.cache()] }
      return { session, guards: [...before, peers.idempotency()], isRepeated: peers.isRepeated }
    },
  })
}

/** With Koa, GET only: there is no peer for idempotency keys. */
export function koaStack(name, Koa, turnpike) {
  function build(make) {
    const cookies = []
    const next = rotating(cookies)
    const app = new Koa()
    const { session, guards } = make(app)
    app.use((ctx, goOn) => {
      ctx.req.headers.cookie = next() ?? STRANGER
      return goOn()
    })
    if (session) {
      const logIn = (ctx) => {
        Object.assign(ctx.session, data())
        ctx.body = {}
      }
      app.use((ctx, goOn) => (ctx.path === LOGIN ? session(ctx, () => logIn(ctx)) : goOn()))
    }
    for (const guard of guards) app.use(guard)
    app.use((ctx) => {
      if (ctx.path !== PATH) return
      if (session && ctx.session.userId === undefined) ctx.status = 401
      else ctx.body = payload()
    })
    const listener = app.callback()
    return session ? loggedIn(listener, cookies, { path: LOGIN, method: 'POST' }) : listener
  }
  return stack({
    group: `${name}, GET`,
    method: 'get',
    build,
    turnpike,
    lowerBound: (redis) => async (ctx, goOn) => {
      await redis.ping()
      await goOn()
    },
    peers(app, url, windows) {
      const { session: of, limits, cache } = koaPeers(url)
      const session = of(app)
      return { session, guards: [session, ...limits(windows), ...cache()] }
    },
  })
}
