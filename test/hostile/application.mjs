// The application under attack, in a process of its own: every feature on Express 4 and 5, Koa, node:http
// and HTTP/2. It answers what its tester asks over IPC: what it holds, and what its handlers did. With
// BARE it mounts nothing: what happens then is the doing of the frameworks and of node.
import { held, stopWatching } from './held.mjs'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import express5 from 'express'
import express4 from 'express4'
import { Redis } from 'ioredis'
import Koa from 'koa'
import * as forExpress from 'turnpike/express'
import * as forKoa from 'turnpike/koa'
import * as forNode from 'turnpike/node'
import { createFeatures, Records } from './features.mjs'

const clients = new Set()
const connect = Redis.prototype.connect
Redis.prototype.connect = function (...args) {
  clients.add(this)
  return connect.apply(this, args)
}

const records = new Records()
function features({ turnpike }, label) {
  // Express 4 and 5 share what they store, as two processes would.
  const [prefix] = label.split(' ')
  const tp = turnpike({
    redis: process.env.URL,
    prefix,
    fallbackMaxKeys: 2_000,
    logger: false,
    // What the first report loads is there before anything is counted.
    operations: { every: '1s' },
  })
  tp.on('warning', () => {})
  tp.on('error', ({ error }) => {
    if (!isExpected(error)) records.faults.push(`${label}: ${error?.stack ?? error}`)
  })
  return createFeatures(tp, prefix, records, process.env.BARE !== undefined)
}

/** What the client did, or Redis. */
const isExpected = ({ status = 500, statusCode = status, code = '', message = '' }) =>
  statusCode < 500 ||
  message === 'as the client wished' ||
  // Node 26, of the targets that Koa parses.
  message.includes('Invalid port in url') ||
  /^(TP_UNAVAILABLE|TP_SEMAPHORE_FULL|TP_LOCK_LOST|ERR_INVALID_URL|ECONNRESET|EPIPE|ERR_HTTP2_\w+|ERR_STREAM_\w+)$/.test(
    code,
  )
function onError(label, error) {
  if (!isExpected(error)) records.faults.push(`${label}: ${error?.stack ?? error}`)
  return error?.status >= 400 ? error.status : 500
}
function plainReply(res) {
  return (status, body, pieces = 1) => {
    res.statusCode = status
    res.setHeader('Content-Type', 'text/plain')
    if (typeof body !== 'string') {
      body.pipe(res)
      return
    }
    for (let i = 0; i < pieces; i++)
      res.write(body.slice((body.length * i) / pieces, (body.length * (i + 1)) / pieces))
    res.end()
  }
}

function onExpress(framework, label) {
  const { tp, stacks, handle, issue } = features(forExpress, label)
  const app = framework()
  const json = framework.json()
  for (const [path, stack] of Object.entries(stacks)) {
    if (path === '/login') app.use(path, json)
    app.use(path, ...stack, (req, res, next) => {
      req.url = req.originalUrl
      void handle(req, req, res, plainReply(res)).catch((error) => next(error))
    })
  }
  app.use((error, _req, res, _next) => {
    const status = onError(label, error)
    if (res.headersSent) res.destroy()
    else res.status(status).end()
  })
  return { tp, issue, listener: app }
}

function onNode(label) {
  const { tp, stacks, handle, issue } = features(forNode, label)
  const listener = (req, res) => {
    const stack = stacks[`/${req.url.split(/[/?#]/)[1]}`]
    const fail = (error) => {
      const status = onError(label, error)
      if (res.headersSent) res.destroy()
      else res.writeHead(status).end()
    }
    const step = (i, error) => {
      if (error) fail(error)
      else if (i < stack.length) stack[i](req, res, (failure) => step(i + 1, failure))
      else handle(req, req, res, plainReply(res)).catch(fail)
    }
    if (stack) step(0)
    else res.writeHead(404).end()
  }
  return { tp, issue, listener }
}

function onKoa(label) {
  const { tp, stacks, handle, issue } = features(forKoa, label)
  const app = new Koa()
  app.on('error', (error) => void onError(label, error))
  app.use((ctx, next) => {
    const stack = stacks[`/${ctx.path?.split('/')[1]}`]
    const step = (i) => {
      if (i < stack.length) return stack[i](ctx, () => step(i + 1))
      return handle(ctx, ctx.req, ctx.res, (status, body) => {
        ctx.status = status
        ctx.body = body
      })
    }
    return stack ? step(0) : next()
  })
  return { tp, issue, listener: app.callback() }
}

const apps = {
  'express 4': onExpress(express4, 'express 4'),
  'express 5': onExpress(express5, 'express 5'),
  koa: onKoa('koa'),
  node: onNode('node'),
}
const servers = {
  'express 4': createServer(apps['express 4'].listener),
  'express 5': createServer(apps['express 5'].listener),
  koa: createServer(apps.koa.listener),
  node: createServer(apps.node.listener),
  'koa, HTTP/2': createHttp2Server(apps.koa.listener),
  'node, HTTP/2': createHttp2Server(apps.node.listener),
}
const http2Sessions = new Set()
/** The open connections: server, address and port of the client. */
const open = new Map()
const ports = {}
for (const [name, server] of Object.entries(servers)) {
  server.on('session', (session) => {
    http2Sessions.add(session)
    // A timeout of the server does not end sessions that their client has told to go away.
    session.setTimeout(1000, () => session.destroy())
    session.on('error', () => {}).on('close', () => http2Sessions.delete(session))
  })
  server.on('connection', (socket) => {
    const from = `${name} ${socket.remoteAddress}:${socket.remotePort}`
    open.set(socket, from)
    socket.on('close', () => open.delete(socket))
    // A client that has reset it before it was accepted. Node 26 now and then never closes such a
    // connection of HTTP/2, Node 20 and 22 never do. There was no request.
    if (socket.remoteAddress === undefined) socket.destroy()
  })
  server.on('sessionError', () => {})
  server.on('clientError', (_error, socket) => socket.destroy())
  server.listen(0, '127.0.0.1', 2000)
  await once(server, 'listening')
  ports[name] = server.address().port
}

const connectionsOf = (server) =>
  new Promise((resolve) => server.getConnections((_, count) => resolve(count)))

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
  cut() {
    for (const socket of open.keys()) socket.destroy()
  },
  // Connections to Redis are opened when they are first needed. None of them has more listeners later.
  held: () =>
    held([
      Object.values(servers),
      [...clients],
      [...clients].flatMap(({ stream }) => stream ?? []),
    ]),
  isOver,
  status: () => Object.values(apps).map(({ tp }) => tp.status()),
  async issue(count) {
    const issued = {}
    for (const [name, { issue }] of Object.entries(apps)) issued[name] = await issue(count)
    return issued
  },
  effects: () => ({
    keys: records.effects.size,
    twice: [...records.effects].filter(([key, n]) => n > 1 || / inside /.test(key)),
  }),
  /** What was recorded is told once. */
  forget() {
    const reached = Object.fromEntries(records.reached)
    records.effects.clear()
    records.reached.clear()
    return reached
  },
  faults: () => records.faults.slice(0, 5),
  async end() {
    stopWatching()
    for (const server of Object.values(servers)) {
      server.close()
      server.closeAllConnections?.()
    }
    for (const session of http2Sessions) session.destroy()
    await Promise.all(Object.values(apps).map(({ tp }) => tp.close()))
    setImmediate(() => process.disconnect())
  },
}
process.on('message', async ({ id, ask, about }) => {
  const answer = await answers[ask](about)
  process.send({ id, answer })
})
await Promise.all(Object.values(apps).map(({ tp }) => tp.ready()))
process.send({ ports })
