/**
 * One application, written once, on every framework: a stack of features and of middlewares of
 * others, and a handler that speaks no framework's language.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createHttp2Server, type ServerHttp2Session } from 'node:http2'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import type { Readable } from 'node:stream'
import compression from 'compression'
import compress from 'koa-compress'
import type { Context } from 'koa'
import { onTestFinished } from 'vitest'
import { connectAdapter } from '../../src/http/connect.ts'
import type { ConnectMiddleware } from '../../src/http/connect-middleware.ts'
import type { Feature, SentResponse } from '../../src/http/exchange.ts'
import { koaAdapter } from '../../src/http/koa.ts'

const require = createRequire(import.meta.url)

export { ask, lines } from './client.ts'
export type { Answer, Question } from './client.ts'

export type AnyFeature = Feature<any, any>

/** What a handler is given. */
export interface Tools {
  req: IncomingMessage & Record<string, any>
  res: ServerResponse
  /** What features exposed. */
  exposed: Record<string, any>
  set(name: string, value: string | string[]): void
  send(status: number, body: string | Buffer | object | null): void
  stream(body: Readable, headers?: Record<string, string>): void
  /** Write to the response itself, past the framework. */
  raw(write: (res: ServerResponse) => void): void
}
export type Handler = (tools: Tools) => void | Promise<void>

/** A foreign middleware: `around` runs before the next one, and its result after it, if the framework has an after. */
export interface Foreign {
  /** Runs before; 'answer' ends the response here, an Error is handed on. */
  foreign(tools: Tools): 'answer' | Error | void | Promise<'answer' | Error | void>
}
export type Member = AnyFeature | Foreign | 'compression' | Member[]

export interface Setup {
  /** From the outermost to the innermost. An array is a pipeline. */
  stack: Member[]
  handler?: Handler
  /** Who answers for an error: the application's own handler, or (default) the framework's. */
  onError?: (error: any, tools: Tools) => void
  trustProxy?: unknown
  budgetMs?: number
  refusals?: 'reply' | 'next'
  /** Serve HTTP/2 in clear text. Not for Express, which cannot. */
  isHttp2?: boolean
}

export interface Running {
  url: URL
  server: Server
  warnings: string[]
  /** The errors that reached the error handler, or the framework. */
  errors: any[]
  /** The adapter in use. */
  adapter: any
}

export interface Framework {
  name: string
  kind: 'express' | 'koa' | 'node'
  start(setup: Setup): Promise<Running>
}

export const hello: Handler = ({ send }) => send(200, 'hello')

export const frameworks: Framework[] = [
  express('Express 4', 'express4'),
  express('Express 5', 'express'),
  koa('Koa 2', 'koa2'),
  koa('Koa 3', 'koa'),
  { name: 'node:http', kind: 'node', start: startNode },
]

async function listen(
  listener: (req: IncomingMessage, res: ServerResponse) => void,
  rest: Omit<Running, 'url' | 'server'>,
  isHttp2 = false,
): Promise<Running> {
  const server = isHttp2
    ? (createHttp2Server(listener as never) as unknown as Server)
    : createServer(listener)
  const sessions: ServerHttp2Session[] = []
  server.on('session', (session) => sessions.push(session)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    for (const session of sessions) session.destroy()
    server.closeAllConnections?.()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: new URL(`http://127.0.0.1:${port}`), server, ...rest }
}

function connectTools(req: any, res: ServerResponse): Tools {
  return {
    req,
    res,
    exposed: req,
    set: (name, value) => void res.setHeader(name, value),
    send(status, body) {
      res.statusCode = status
      if (body === null) {
        res.end()
        return
      }
      const isObject = typeof body === 'object' && !Buffer.isBuffer(body)
      if (isObject) res.setHeader('Content-Type', 'application/json; charset=utf-8')
      else if (!res.hasHeader('Content-Type')) res.setHeader('Content-Type', 'text/plain')
      const bytes = Buffer.from(isObject ? JSON.stringify(body) : (body as string))
      res.setHeader('Content-Length', res.getHeader('Content-Length') ?? bytes.length)
      res.end(req.method === 'HEAD' ? undefined : bytes)
    },
    stream(body, headers = {}) {
      for (const [name, value] of Object.entries(headers)) res.setHeader(name, value)
      res.once('close', () => body.destroy())
      body.once('error', () => res.destroy())
      body.pipe(res)
    },
    raw: (write) => write(res),
  }
}

function connectStack(stack: Member[], adapter: ReturnType<typeof connectAdapter>) {
  return stack.map((member): ConnectMiddleware => {
    if (member === 'compression') return compression({ threshold: 0 }) as any
    if (Array.isArray(member)) return adapter.pipeline(connectStack(member, adapter))
    if ('handle' in member) return adapter.mount(member)
    return async (req, res, next) => {
      const said = await member.foreign(connectTools(req, res))
      if (said === 'answer') return
      next(said)
    }
  })
}

function express(name: string, module: string): Framework {
  return {
    name,
    kind: 'express',
    start({ stack, handler = hello, onError, trustProxy, budgetMs = 100, refusals }) {
      const app = require(module)()
      if (trustProxy !== undefined) app.set('trust proxy', trustProxy)
      const warnings: string[] = []
      const errors: any[] = []
      const adapter = connectAdapter({ budgetMs, refusals, warn: (text) => warnings.push(text) })
      for (const middleware of connectStack(stack, adapter)) app.use(middleware)
      app.use((req: any, res: any, next: any) => {
        void Promise.resolve(handler(connectTools(req, res))).catch(next)
      })
      app.use((error: any, req: any, res: any, next: any) => {
        errors.push(error)
        if (onError === undefined || res.headersSent) next(error)
        else onError(error, connectTools(req, res))
      })
      app.set('env', 'test')
      return listen(app, { warnings, errors, adapter })
    },
  }
}

function startNode({
  stack,
  handler = hello,
  onError,
  budgetMs = 100,
  ...rest
}: Setup): Promise<Running> {
  const { refusals, isHttp2 } = rest
  const warnings: string[] = []
  const errors: any[] = []
  const adapter = connectAdapter({ budgetMs, refusals, warn: (text) => warnings.push(text) })
  const middlewares = connectStack(stack, adapter)
  const listener = (req: IncomingMessage, res: ServerResponse): void => {
    const tools = connectTools(req, res)
    const refuse = (error: any): void => {
      errors.push(error)
      if (res.headersSent) return void res.destroy()
      if (onError !== undefined) return onError(error, tools)
      res.statusCode = error.status ?? 500
      res.end('Error')
    }
    const run = (index: number): void => {
      const middleware = middlewares[index]
      if (middleware !== undefined) {
        return middleware(req, res, (error) => (error ? refuse(error) : run(index + 1)))
      }
      void (async () => handler(tools))().catch(refuse)
    }
    run(0)
  }
  return listen(listener, { warnings, errors, adapter }, isHttp2)
}

function koaTools(ctx: Context): Tools {
  return {
    req: ctx.req,
    res: ctx.res,
    exposed: ctx.state,
    set: (name, value) => ctx.set(name, value),
    send(status, body) {
      ctx.status = status
      ctx.body = body
      if (status !== 204) ctx.status = status
    },
    stream(body, headers = {}) {
      ctx.status = 200
      ctx.body = body
      ctx.set(headers)
    },
    raw(write) {
      ctx.respond = false
      ctx.res.statusCode = 200
      write(ctx.res)
    },
  }
}

function koaStack(stack: Member[], adapter: ReturnType<typeof koaAdapter>): any[] {
  return stack.map((member) => {
    if (member === 'compression') return compress({ threshold: 0 })
    if (Array.isArray(member)) return adapter.pipeline(koaStack(member, adapter))
    if ('handle' in member) return adapter.mount(member)
    return async (ctx: Context, next: () => Promise<void>) => {
      const said = await member.foreign(koaTools(ctx))
      if (said instanceof Error) throw said
      if (said !== 'answer') await next()
    }
  })
}

function koa(name: string, module: string): Framework {
  return {
    name,
    kind: 'koa',
    start(setup) {
      const {
        stack,
        handler = hello,
        onError,
        trustProxy,
        budgetMs = 100,
        refusals,
        isHttp2,
      } = setup
      const Koa = require(module)
      const app = new Koa(typeof trustProxy === 'object' ? trustProxy : { proxy: trustProxy })
      const warnings: string[] = []
      const errors: any[] = []
      app.on('error', (error: any) => errors.push(error))
      const adapter = koaAdapter({ budgetMs, refusals, warn: (text) => warnings.push(text) })
      if (onError !== undefined) {
        app.use(async (ctx: Context, next: () => Promise<void>) => {
          try {
            await next()
          } catch (error) {
            errors.push(error)
            onError(error, koaTools(ctx))
          }
        })
      }
      for (const middleware of koaStack(stack, adapter)) app.use(middleware)
      app.use((ctx: Context) => handler(koaTools(ctx)))
      return listen(app.callback(), { warnings, errors, adapter }, isHttp2)
    },
  }
}

/** A promise, and the means to settle it. */
export interface Signal<Value = void> {
  promise: Promise<Value>
  resolve(value: Value): void
  reject(reason: unknown): void
}

export function signal<Value = void>(): Signal<Value> {
  let resolve!: (value: Value) => void
  let reject!: (reason: unknown) => void
  const promise = new Promise<Value>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

/** A feature that makes this plan of every request. */
export function feature(handle: AnyFeature['handle'], rest: Partial<AnyFeature> = {}): AnyFeature {
  return { name: 'probe', handle, ...rest }
}

/** A feature that remembers whole responses. */
export function witness(limit = 1 << 20): {
  probe: AnyFeature
  seen: SentResponse[]
  over: Promise<boolean>
} {
  const seen: SentResponse[] = []
  const over = signal<boolean>()
  const body = { limit, onComplete: (sent: SentResponse) => void seen.push(sent) }
  const probe = feature(async () => ({
    capture: body,
    onFinish: ({ finished }) => over.resolve(finished),
  }))
  return { probe, seen, over: over.promise }
}
