/** One application on every framework, with a cache in front of a handler that speaks no framework's language. */
import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Readable } from 'node:stream'
import compression from 'compression'
import express from 'express'
import express4 from 'express4'
import Koa from 'koa'
import Koa2 from 'koa2'
import compress from 'koa-compress'
import { onTestFinished } from 'vitest'
import { turnpike as forExpress } from '../../../src/express.ts'
import type { CacheOptions } from '../../../src/index.ts'
import type { Turnpike, TurnpikeOptions } from '../../../src/turnpike.ts'
import { turnpike as forKoa } from '../../../src/koa.ts'
import { turnpike as forNode } from '../../../src/node.ts'
import { ask, type Answer, type Question } from '../../frameworks/harness.ts'

export type AnyTurnpike = Turnpike<any, any>

/** What a handler is given. */
export interface Tools {
  native: any
  res: ServerResponse
  url: string
  method: string
  header(name: string): string | undefined
  set(name: string, value: string | string[]): void
  cookie(name: string, value: string): void
  tags(...tags: string[]): void
  send(status: number, body: string | Buffer | object): void
  stream(body: Readable): void
}
export type Handler = (tools: Tools) => unknown

export interface Setup {
  options: TurnpikeOptions<any>
  cache?: CacheOptions<any> | ((tp: AnyTurnpike) => any[])
  handler: Handler
  /** Compression outside of the cache. */
  compressed?: boolean
  /** Runs before everything else. */
  outer?: (tools: Tools) => void
  trustProxy?: boolean
  /** `tp.cacheListener()` stands before the framework. */
  listener?: boolean
}

export interface App {
  tp: AnyTurnpike
  server: Server
  url: URL
  errors: any[]
  warnings: string[]
  get(path?: string, headers?: Record<string, string>): Promise<Answer>
  ask(question: Question): Promise<Answer>
}

export interface Kind {
  name: string
  start(setup: Setup): Promise<App>
}

const mounted = (tp: AnyTurnpike, { cache = { ttl: '1m', jitter: 0 } }: Setup): any[] =>
  typeof cache === 'function' ? cache(tp) : [tp.cache({ jitter: 0, ...cache })]

async function running(
  tp: AnyTurnpike,
  listener: any,
  errors: any[],
  isBehind = false,
): Promise<App> {
  const server = createServer(isBehind ? tp.cacheListener(listener) : listener).listen(
    0,
    '127.0.0.1',
  )
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const warnings: string[] = []
  tp.on('warning', ({ message }) => warnings.push(message))
  tp.on('error', ({ error }) => errors.push(error))
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const app: App = {
    tp,
    server,
    url,
    errors,
    warnings,
    ask: (question) => ask(app, question),
    get: (path = '/', headers = {}) => ask(app, { path, headers }),
  }
  return app
}

const bytesOf = (res: ServerResponse, body: string | Buffer | object): Buffer => {
  if (Buffer.isBuffer(body)) return body
  if (typeof body === 'string') return Buffer.from(body)
  if (!res.hasHeader('content-type'))
    res.setHeader('Content-Type', 'application/json; charset=utf-8')
  return Buffer.from(JSON.stringify(body))
}

function connectTools(native: any, res: any, isExpress: boolean): Tools {
  return {
    native,
    res,
    url: native.originalUrl ?? native.url,
    method: native.method,
    header: (name) => native.headers[name],
    set: (name, value) => void res.setHeader(name, value),
    cookie: (name, value) => void res.appendHeader('Set-Cookie', `${name}=${value}; Path=/`),
    tags: (...tags) => res.cacheTags?.(...tags),
    send(status, body) {
      if (isExpress) {
        res.status(status).send(body)
        return
      }
      res.statusCode = status
      if (typeof body === 'string' && !res.hasHeader('content-type'))
        res.setHeader('Content-Type', 'text/plain; charset=utf-8')
      const bytes = bytesOf(res, body)
      res.setHeader('Content-Length', bytes.length)
      res.end(bytes)
    },
    stream(body) {
      res.once('close', () => body.destroy())
      body.once('error', () => res.destroy())
      body.pipe(res)
    },
  }
}

function onExpress(name: string, framework: typeof express): Kind {
  return {
    name,
    start(setup) {
      const tp: AnyTurnpike = forExpress(setup.options)
      const app = framework()
      const errors: any[] = []
      if (setup.trustProxy) app.set('trust proxy', 1)
      if (setup.outer)
        app.use((req, res, next) => (setup.outer!(connectTools(req, res, true)), next()))
      if (setup.compressed) app.use(compression({ threshold: 0 }) as any)
      app.use(...mounted(tp, setup))
      app.use((req: any, res: any, next: any) => {
        void Promise.resolve()
          .then(() => setup.handler(connectTools(req, res, true)))
          .catch(next)
      })
      app.use((error: any, _req: any, res: any, next: any) => {
        errors.push(error)
        if (res.headersSent) next(error)
        else res.status(error.status ?? 500).json({ code: error.code })
      })
      return running(tp, app, errors, setup.listener)
    },
  }
}

const onNode: Kind = {
  name: 'node:http',
  start(setup) {
    const tp: AnyTurnpike = forNode(setup.options)
    const errors: any[] = []
    const stack = [
      ...(setup.compressed ? [compression({ threshold: 0 })] : []),
      ...mounted(tp, setup),
    ]
    return running(
      tp,
      (req: any, res: any) => {
        setup.outer?.(connectTools(req, res, false))
        const fail = (error: any): void => {
          errors.push(error)
          if (res.headersSent) return void res.destroy()
          res.statusCode = error.status ?? 500
          res.end(JSON.stringify({ code: error.code }))
        }
        const step = (i: number): void => {
          if (i < stack.length)
            return stack[i](req, res, (error: unknown) => (error ? fail(error) : step(i + 1)))
          Promise.resolve()
            .then(() => setup.handler(connectTools(req, res, false)))
            .catch(fail)
        }
        step(0)
      },
      errors,
      setup.listener,
    )
  },
}

function onKoa(name: string, Framework: typeof Koa): Kind {
  return {
    name,
    start(setup) {
      const tp: AnyTurnpike = forKoa(setup.options)
      const app = new Framework(setup.trustProxy ? { proxy: true, maxIpsCount: 1 } : {})
      const errors: any[] = []
      app.silent = true
      app.on('error', (error) => errors.push(error))
      const tools = (ctx: any): Tools => ({
        native: ctx,
        res: ctx.res,
        url: ctx.originalUrl,
        method: ctx.method,
        header: (name) => ctx.req.headers[name],
        set: (name, value) => ctx.set(name, value),
        cookie: (name, value) => ctx.append('Set-Cookie', `${name}=${value}; Path=/`),
        tags: (...tags) => ctx.cacheTags?.(...tags),
        send(status, body) {
          ctx.status = status
          ctx.body = body
        },
        stream(body) {
          ctx.status = 200
          const type = ctx.response.get('Content-Type')
          ctx.body = body
          if (type) ctx.set('Content-Type', type)
        },
      })
      if (setup.outer) app.use((ctx, next) => (setup.outer!(tools(ctx)), next()))
      if (setup.compressed) app.use(compress({ threshold: 0 }))
      for (const middleware of mounted(tp, setup)) app.use(middleware)
      app.use(async (ctx) => void (await setup.handler(tools(ctx))))
      return running(tp, app.callback(), errors, setup.listener)
    },
  }
}

export const kinds: Kind[] = [
  onExpress('Express 5', express),
  onExpress('Express 4', express4),
  onKoa('Koa 3', Koa),
  onKoa('Koa 2', Koa2),
  onNode,
]

/** A handler that counts, and answers what it is told to. */
export function counting(
  answer: Handler = ({ send }) => send(200, 'hello'),
): Handler & { calls: number } {
  const handler = Object.assign((tools: Tools) => (handler.calls++, answer(tools)), { calls: 0 })
  return handler
}

/** The member of Cache-Status that is ours. */
export const statusOf = ({ headers }: Answer): string => String(headers['cache-status'])
