// The application under attack, in a process of its own: every feature on Express, Koa, node:http and
// HTTP/2. It answers what its tester asks over IPC: what it holds, and what its handlers did.
import { Session } from 'node:inspector'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import express from 'express'
import { Redis } from 'ioredis'
import Koa from 'koa'
import * as forExpress from 'turnpike/express'
import * as forKoa from 'turnpike/koa'
import * as forNode from 'turnpike/node'

const clients = new Set()
const connect = Redis.prototype.connect
Redis.prototype.connect = function (...args) {
  clients.add(this)
  return connect.apply(this, args)
}

/** How often handlers took effect, by instance and key. */
const effects = new Map()
/** Errors that a client or an absent Redis does not explain. */
const faults = []
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

const SECRET = 'a secret that is long enough 123'
const warned = (tp, name) => {
  tp.on('warning', () => {})
  tp.on('error', ({ error }) => {
    if (error?.code !== 'TP_UNAVAILABLE') faults.push(`${name}: ${error?.stack ?? error}`)
  })
  return tp
}
function instance({ turnpike }, name) {
  return warned(
    turnpike({ redis: process.env.URL, prefix: name, fallbackMaxKeys: 2_000, logger: false }),
    name,
  )
}

/** The middlewares of each path, the same on every framework. */
function routes(tp) {
  const fieldOf = (native, name) => native.headers[name]
  const limit = (name) => tp.rateLimit({ name, limit: 1_000_000, window: '1m' })
  const session = () => tp.session({ secret: SECRET, ttl: '1m' })
  const exclusive = () => tp.exclusive({ key: 'one', lease: '2s' })
  const places = tp.concurrency({ name: 'places', limit: 5, lease: '2s' })
  const pay = (name) => tp.idempotency({ name, scope: () => 'me', ttl: '1m' })
  return {
    '/session': [session()],
    '/login': [
      tp.loginGuard({ limit: 1000, addressLimit: 1e6, key: (native) => fieldOf(native, 'x-user') }),
    ],
    '/limit': [limit('limit')],
    '/cache': [
      tp.cache({ ttl: '1s', staleWhileRevalidate: '2s', public: true, near: true, tags: ['all'] }),
    ],
    '/invalidate': [tp.invalidate({ tags: ['all'] })],
    '/pay': [pay('pay')],
    '/exclusive': [exclusive()],
    '/places': [places],
    '/all': [
      tp.pipeline(
        session(),
        limit('all'),
        tp.cache({ ttl: '1s', scope: () => 'me', tags: ['all'] }),
      ),
    ],
    '/everything': [
      tp.pipeline(
        session(),
        limit('everything'),
        pay('everything'),
        tp.concurrency({ name: 'everything', limit: 50, lease: '2s' }),
      ),
    ],
  }
}

/** What every handler does: `reply(status, body, pieces?)` ends the response. */
async function handle(label, req, session, reply) {
  const path = req.url.split(/[?#]/)[0]
  if (session) session.n = (session.n ?? 0) + 1
  if (path === '/pay') {
    for await (const _ of req) {
      // The body is read to its end.
    }
    const key = req.headers['idempotency-key']
    const host = req.headers.host ?? req.headers[':authority']
    await sleep(Math.random() * 3)
    if (req.method === 'POST' && host === 'shop' && /^k\d+-\d+$/.test(key ?? '')) {
      const effect = `${label} ${key}`
      effects.set(effect, (effects.get(effect) ?? 0) + 1)
    }
  }
  if (path === '/places' || path === '/exclusive' || path === '/cache/slow')
    await sleep(Math.random() * 5)
  if (path === '/cache/stream') return reply(200, 'x'.repeat(10_000), 4)
  return reply(path === '/login' ? 401 : 200, `this is ${path}`)
}

/** What the client did, or Redis. */
const isExpected = ({ status = 500, statusCode = status, code = '' }) =>
  statusCode < 500 ||
  /^(TP_UNAVAILABLE|TP_SEMAPHORE_FULL|ERR_INVALID_URL|ECONNRESET|EPIPE|ERR_HTTP2_\w+|ERR_STREAM_\w+)$/.test(
    code,
  )
function onError(label, error) {
  if (!isExpected(error)) faults.push(`${label}: ${error?.stack ?? error}`)
  return error?.status >= 400 ? error.status : 500
}
function plainReply(req, res) {
  return (status, body, pieces = 1) => {
    res.statusCode = status
    res.setHeader('Content-Type', 'text/plain')
    for (let i = 0; i < pieces; i++)
      res.write(body.slice((body.length * i) / pieces, (body.length * (i + 1)) / pieces))
    res.end()
  }
}

function onExpress() {
  const tp = instance(forExpress, 'express')
  const app = express()
  const json = express.json()
  for (const [path, stack] of Object.entries(routes(tp))) {
    if (path === '/login') app.use(path, json)
    app.use(path, ...stack, (req, res, next) => {
      req.url = req.originalUrl
      handle('express', req, req.session, plainReply(req, res)).catch(next)
    })
  }
  app.use((error, _req, res, _next) => {
    const status = onError('express', error)
    if (res.headersSent) res.destroy()
    else res.status(status).end()
  })
  return { tp, listener: app }
}

function onNode() {
  const tp = instance(forNode, 'node')
  const stacks = routes(tp)
  const listener = (req, res) => {
    const stack = stacks[`/${req.url.split(/[/?#]/)[1]}`]
    const fail = (error) => {
      const status = onError('node', error)
      if (res.headersSent) res.destroy()
      else res.writeHead(status).end()
    }
    const step = (i, error) => {
      if (error) fail(error)
      else if (i < stack.length) stack[i](req, res, (failure) => step(i + 1, failure))
      else handle('node', req, req.session, plainReply(req, res)).catch(fail)
    }
    if (stack) step(0)
    else res.writeHead(404).end()
  }
  return { tp, listener }
}

function onKoa() {
  const tp = instance(forKoa, 'koa')
  const stacks = routes(tp)
  const app = new Koa()
  app.on('error', (error) => void onError('koa', error))
  app.use((ctx, next) => {
    const stack = stacks[`/${ctx.path?.split('/')[1]}`]
    const step = (i) => {
      if (i < stack.length) return stack[i](ctx, () => step(i + 1))
      return handle('koa', ctx.req, ctx.session, (status, body) => {
        ctx.status = status
        ctx.body = body
      })
    }
    return stack ? step(0) : next()
  })
  return { tp, listener: app.callback() }
}

const apps = { express: onExpress(), koa: onKoa(), node: onNode() }
const servers = {
  express: createServer(apps.express.listener),
  koa: createServer(apps.koa.listener),
  node: createServer(apps.node.listener),
  'koa, HTTP/2': createHttp2Server(apps.koa.listener),
  'node, HTTP/2': createHttp2Server(apps.node.listener),
}
const http2Sessions = new Set()
/** The open connections, each with the requests that it brought. */
const open = new Map()
const ports = {}
for (const [name, server] of Object.entries(servers)) {
  server.on('session', (session) => {
    http2Sessions.add(session)
    session.on('error', () => {}).on('close', () => http2Sessions.delete(session))
  })
  server.on('connection', (socket) => {
    open.set(socket, { name, requests: [] })
    socket.on('close', () => open.delete(socket))
  })
  server.on('request', ({ method, url, socket }) => {
    open.get(socket)?.requests.push(`${method} ${url}`)
  })
  server.on('sessionError', () => {})
  server.on('clientError', (_error, socket) => socket.destroy())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  ports[name] = server.address().port
}

const listenersOf = (emitter) =>
  emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0)
const connectionsOf = (server) =>
  new Promise((resolve) => server.getConnections((_, count) => resolve(count)))

const inspector = new Session()
inspector.connect()
const post = (method, params) =>
  new Promise((resolve, reject) =>
    inspector.post(method, params, (error, result) => (error ? reject(error) : resolve(result))),
  )
const probe = setTimeout(() => {}, 0)
globalThis.TimeoutPrototype = Object.getPrototypeOf(probe)
/** Folds all live objects of a prototype into a number. */
async function overObjects(prototype, fold) {
  const objectGroup = 'counts'
  const { result } = await post('Runtime.evaluate', { expression: prototype, objectGroup })
  const { objects } = await post('Runtime.queryObjects', {
    prototypeObjectId: result.objectId,
    objectGroup,
  })
  const folded = await post('Runtime.callFunctionOn', {
    objectId: objects.objectId,
    functionDeclaration: fold,
    returnByValue: true,
  })
  await post('Runtime.releaseObjectGroup', { objectGroup })
  return folded.result.value
}

/** What is held now. */
async function counts() {
  gc()
  const most = (emitters) => Math.max(0, ...emitters.map(listenersOf))
  const streams = [...clients].flatMap(({ stream }) => stream ?? [])
  const sizes = 'function () { return this.reduce((sum, each) => sum + each.size, 0) }'
  return {
    // Connections to Redis are opened when they are first needed. None of them has more listeners later.
    listeners:
      listenersOf(process) + most(Object.values(servers)) + most([...clients]) + most(streams),
    timers: await overObjects(
      'TimeoutPrototype',
      'function () { return this.filter((each) => !each._destroyed).length }',
    ),
    // Without what this file holds itself.
    collected:
      (await overObjects('Map.prototype', sizes)) +
      (await overObjects('Set.prototype', sizes)) -
      effects.size,
    heap: process.memoryUsage().heapUsed / 2 ** 20,
  }
}

/** True once no connection is left, and Redis is well. */
async function isOver() {
  const connections = await Promise.all(Object.values(servers).map(connectionsOf))
  return (
    connections.every((count) => count === 0) &&
    Object.values(apps).every(({ tp }) => tp.status().status === 'ok')
  )
}

const answers = {
  open: () => [...open.values()],
  counts,
  isOver,
  effects: () => ({
    most: Math.max(0, ...effects.values()),
    keys: effects.size,
    twice: [...effects].filter(([, n]) => n > 1).map(([key]) => key),
  }),
  faults: () => faults.slice(0, 5),
  async end() {
    inspector.disconnect()
    for (const server of Object.values(servers)) {
      server.close()
      server.closeAllConnections?.()
    }
    for (const session of http2Sessions) session.destroy()
    await Promise.all(Object.values(apps).map(({ tp }) => tp.close()))
    setImmediate(() => process.disconnect())
  },
}
process.on('message', async ({ id, ask }) => {
  const answer = await answers[ask]()
  process.send({ id, answer })
})
await Promise.all(Object.values(apps).map(({ tp }) => tp.ready()))
process.send({ ports })
