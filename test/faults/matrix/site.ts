/** One application with all features. Each feature has its own instance. */
import { once } from 'node:events'
import { Agent, createServer, request, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import express4 from 'express4'
import Koa from 'koa'
import { turnpike as forExpress } from '../../../src/express.ts'
import { turnpike as forKoa } from '../../../src/koa.ts'
import type { Turnpike, TurnpikeOptions } from '../../../src/turnpike.ts'
import { delays, type Lost } from './delays.ts'

export type AnyTurnpike = Turnpike<any, any>

/** The common part of `req` and `ctx` that handlers receive. */
type Handler = (native: any) => readonly [number, string] | Promise<readonly [number, string]>

export interface Ask {
  path: string
  method?: 'GET' | 'POST' | 'PUT'
  headers?: Record<string, string>
}

export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: string
  /** Time from the request's arrival in the application to the end of its answer, in ms. */
  ms: number
  lost: Lost
}

export interface Site extends AsyncDisposable {
  turnpike(options: TurnpikeOptions<any>): AnyTurnpike
  serve(path: string, middlewares: readonly any[], handle: Handler): void
  ask(ask: Ask): Promise<Answer>
  /** The error that reached the framework's error handler. */
  readonly errors: readonly any[]
}

interface Host {
  errors: any[]
  listener: RequestListener
  turnpike(options: TurnpikeOptions<any>): AnyTurnpike
  serve: Site['serve']
}

function onExpress(framework: typeof express): Host {
  const app = framework()
  app.disable('x-powered-by')
  const errors: any[] = []
  let isOpen = true
  return {
    errors,
    turnpike: forExpress,
    serve(path, middlewares, handle) {
      app.use(path, ...(middlewares as []), (req: any, res: any, next: any) => {
        void Promise.resolve(handle(req)).then(
          ([status, body]) => res.status(status).send(body),
          next,
        )
      })
    },
    listener(req, res) {
      if (isOpen) {
        isOpen = false
        app.use((error: any, _req: any, res: any, _next: any) => {
          errors.push(error)
          res.status(error.status ?? 500).send(String(error.code))
        })
      }
      app(req, res)
    },
  }
}

function onKoa(): Host {
  const app = new Koa()
  app.silent = true
  const errors: any[] = []
  app.on('error', (error) => errors.push(error))
  let callback: RequestListener | undefined
  return {
    errors,
    turnpike: forKoa,
    serve(path, middlewares, handle) {
      const stack = [
        ...middlewares,
        async (ctx: any) => {
          const [status, body] = await handle(ctx)
          ctx.status = status
          ctx.body = body
        },
      ]
      app.use((ctx, next) => {
        if (ctx.path !== path && !ctx.path.startsWith(`${path}/`)) return next()
        const step = (i: number): any => stack[i]?.(ctx, () => step(i + 1))
        return step(0)
      })
    },
    listener(req, res) {
      callback ??= app.callback()
      callback(req, res)
    },
  }
}

const hosts = {
  'Express 5': () => onExpress(express),
  'Koa 3': onKoa,
  'Express 4': () => onExpress(express4),
}
export type FrameworkName = keyof typeof hosts

export async function openSite(framework: FrameworkName): Promise<Site> {
  const { listener, turnpike, serve, errors } = hosts[framework]()
  const instances: AnyTurnpike[] = []
  const took = new Map<string, Pick<Answer, 'ms' | 'lost'>>()
  const delay = delays()
  const server = createServer((req, res) => {
    const began = performance.now()
    const lost = delay.since()
    const id = String(req.headers['x-ask'])
    res.on('finish', () => took.set(id, { ms: performance.now() - began, lost: lost() }))
    listener(req, res)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const agent = new Agent({ keepAlive: true })
  let count = 0
  return {
    turnpike(options) {
      const instance = turnpike(options)
      instances.push(instance)
      return instance
    },
    serve,
    errors,
    async ask({ path, method = 'GET', headers = {} }) {
      const id = String(++count)
      const req = request({ port, path, method, agent, headers: { ...headers, 'x-ask': id } }).end()
      const [res] = await once(req, 'response')
      const pieces: Buffer[] = []
      for await (const piece of res) pieces.push(piece as Buffer)
      const { ms, lost } = took.get(id)!
      took.delete(id)
      const body = Buffer.concat(pieces).toString()
      return { status: res.statusCode, headers: res.headers, body, ms, lost }
    },
    async [Symbol.asyncDispose]() {
      agent.destroy()
      server.closeAllConnections()
      server.close()
      await Promise.all(instances.map((each) => each.close()))
      delay.end()
    },
  }
}
