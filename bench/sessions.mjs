/** An application whose requests all come from one of many browsers that have a session. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { expressApp, koaApp } from './apps.mjs'
import { PATH } from './payload.mjs'

const BROWSERS = 500

/** Something to carry in a session. */
export const data = () => ({
  userId: 4711,
  name: 'Ada Lovelace',
  cart: [{ sku: 'A-1', count: 2 }],
  csrf: 'd2f1c3b4a5968778',
})

/**
 * The load comes without cookies: they are put in here, at the same cost for all.
 * @param cookies to be filled with those of so many browsers, each logged in by one request
 */
export async function loggedIn(app, cookies, { path = PATH, method = 'GET' } = {}) {
  const server = createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${server.address().port}${path}`
  const found = []
  while (found.length < BROWSERS) {
    const some = Array.from({ length: 20 }, () => fetch(url, { method }))
    for (const { headers } of await Promise.all(some)) found.push(cookieIn(headers))
  }
  cookies.push(...found)
  server.closeAllConnections()
  server.close()
  return app
}

/** All that were set: koa-session signs with a second one. */
const cookieIn = (headers) =>
  headers
    .getSetCookie()
    .map((each) => each.split(';')[0])
    .join('; ')

export function rotating(cookies) {
  let turn = 0
  return () => cookies[turn++ % cookies.length]
}

/** With Express: every request reads its session, none changes it. */
export function expressSessions(middleware) {
  const cookies = []
  const next = rotating(cookies)
  const app = expressApp(
    (req, res, goOn) => {
      const cookie = next()
      if (cookie) req.headers.cookie = cookie
      goOn()
    },
    middleware,
    (req, res, goOn) => {
      if (req.session.userId === undefined) Object.assign(req.session, data())
      goOn()
    },
  )
  return loggedIn(app, cookies)
}

/** With Koa, likewise. */
export function koaSessions(middleware) {
  const cookies = []
  const next = rotating(cookies)
  const app = koaApp(
    (ctx, goOn) => {
      const cookie = next()
      if (cookie) ctx.req.headers.cookie = cookie
      return goOn()
    },
    middleware,
    (ctx, goOn) => {
      if (ctx.session.userId === undefined) Object.assign(ctx.session, data())
      return goOn()
    },
  )
  return loggedIn(app, cookies)
}
