/** The packages that applications use today, configured over Redis as their documentation shows. */
import apicache from 'apicache'
import { RedisStore as SessionStore } from 'connect-redis'
import { getSharedIdempotencyService, idempotency } from 'express-idempotency'
import { rateLimit } from 'express-rate-limit'
import expressSession from 'express-session'
import { Redis } from 'ioredis'
import koaCash from 'koa-cash'
import koaRatelimit from 'koa-ratelimit'
import koaSession from 'koa-session'
import { RedisStore } from 'rate-limit-redis'
import { ENOUGH, WINDOWS } from './apps.mjs'

/** The first so many of the windows. */
const first = (count) => Object.entries(WINDOWS).slice(0, count)

/** For Express, all over one connection. */
export function expressPeers(url) {
  const client = new Redis(url)
  const sendCommand = (command, ...args) => client.call(command, ...args)
  return {
    session: () =>
      expressSession({
        secret: 'bench',
        resave: false,
        saveUninitialized: false,
        store: new SessionStore({ client }),
      }),
    limits: (windows) =>
      first(windows).map(([name, windowMs]) =>
        rateLimit({
          windowMs,
          limit: ENOUGH,
          standardHeaders: true,
          legacyHeaders: false,
          store: new RedisStore({ sendCommand, prefix: `rl:${name}:` }),
        }),
      ),
    cache() {
      // It reads whether the client is connected, which only old clients have.
      client.connected = true
      return apicache.options({ redisClient: client }).middleware('1 hour')
    },
    idempotency: () => idempotency({ dataAdapter: adapter(client) }),
    isRepeated: (req) => getSharedIdempotencyService().isHit(req),
  }
}

/** The one that express-idempotency has its users write. */
function adapter(client) {
  const keep = async (resource) => {
    await client.set(`idem:${resource.idempotencyKey}`, JSON.stringify(resource), 'PX', 86_400_000)
  }
  return {
    async findByIdempotencyKey(key) {
      const found = await client.get(`idem:${key}`)
      return found === null ? null : JSON.parse(found)
    },
    create: keep,
    update: keep,
    delete: (key) => client.del(`idem:${key}`),
  }
}

/** For Koa. Users of koa-session and koa-cash write the calls to Redis themselves. */
export function koaPeers(url) {
  const client = new Redis(url)
  const read = async (key) => {
    const found = await client.get(key)
    return found === null ? undefined : JSON.parse(found)
  }
  const write = (key, value) => client.set(key, JSON.stringify(value), 'PX', 86_400_000)
  return {
    session(app) {
      app.keys = ['bench']
      return koaSession(
        { store: { get: read, set: (key, value) => write(key, value), destroy: client.del } },
        app,
      )
    },
    limits: (windows) =>
      first(windows).map(([name, duration]) =>
        koaRatelimit({
          driver: 'redis',
          db: client,
          duration,
          max: ENOUGH,
          id: (ctx) => `${name}:${ctx.ip}`,
        }),
      ),
    cache: () => [
      koaCash({
        get: (key) => read(`cash:${key}`),
        set: (key, value) => write(`cash:${key}`, value),
      }),
      async (ctx, next) => {
        if (!(await ctx.cashed())) await next()
      },
    ],
  }
}
