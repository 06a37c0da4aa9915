/** A whole application on each framework, with turnpike mounted as a user would. */
import { createServer, type Server } from 'node:http'
import express from 'express'
import express4 from 'express4'
import Koa from 'koa'
import Koa2 from 'koa2'
import request from 'supertest'
import { onTestFinished } from 'vitest'
import type { Turnpike, TurnpikeOptions } from '../../src/turnpike.ts'
import { turnpike as forExpress } from '../../src/express.ts'
import { turnpike as forKoa } from '../../src/koa.ts'
import { turnpike as forNode } from '../../src/node.ts'

type AnyTurnpike = Turnpike<any, any>

export interface AppSetup {
  options: TurnpikeOptions<any>
  /** The middlewares, in order. `native` has `headers` in every framework. */
  mount(tp: AnyTurnpike): any[]
  /** The handler: gives status and body. Default: 200 'ok'. */
  handle?(
    native: any,
  ): readonly [number, string | object] | Promise<readonly [number, string | object]>
  /** Express's `trust proxy`; on Koa `true` means proxy: true, and a number maxIpsCount. */
  trustProxy?: boolean | number | string
}

export interface App {
  tp: AnyTurnpike
  server: Server
  get(path?: string, headers?: Record<string, string>): Promise<request.Response>
  post(path?: string, headers?: Record<string, string>, json?: object): Promise<request.Response>
  warnings: string[]
  /** What reached the framework's error handler. */
  errors: any[]
}

export interface AppKind {
  name: string
  start(setup: AppSetup): App
}

/** A handler's answer; what it throws is a rejection. */
const answer = async (
  handle: NonNullable<AppSetup['handle']>,
  native: any,
): Promise<readonly [number, string | object]> => handle(native)

const ok = (): readonly [number, string] => [200, 'ok']

function running(tp: AnyTurnpike, listener: any, errors: any[]): App {
  const warnings: string[] = []
  tp.on('warning', ({ message }) => warnings.push(message))
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    tp,
    server,
    warnings,
    errors,
    get: (path = '/', headers = {}) => request(server).get(path).set(headers),
    post: (path = '/', headers = {}, json?: object) =>
      request(server).post(path).set(headers).send(json),
  }
}

/** A busy machine is slow: where a test turns the clock of a store by hand, no time is short. */
const patient = (options: TurnpikeOptions<any>): TurnpikeOptions<any> =>
  options.store ? { requestBudget: '10s', ...options } : options

function onExpress(name: string, framework: typeof express): AppKind {
  return {
    name,
    start({ options, mount, handle = ok, trustProxy }) {
      const tp = forExpress(patient(options))
      const app = framework()
      const errors: any[] = []
      if (trustProxy !== undefined) app.set('trust proxy', trustProxy)
      app.use(...mount(tp), (req: any, res: any, next: any) => {
        void answer(handle, req).then(([status, body]) => res.status(status).send(body), next)
      })
      app.use((error: any, _req: any, res: any, _next: any) => {
        errors.push(error)
        res
          .status(error.status ?? 500)
          .json({ code: error.code, message: error.expose ? error.message : undefined })
      })
      return running(tp, app, errors)
    },
  }
}

function onKoa(name: string, Framework: typeof Koa): AppKind {
  return {
    name,
    start({ options, mount, handle = ok, trustProxy }) {
      const tp = forKoa(patient(options))
      const proxied =
        trustProxy === undefined
          ? {}
          : { proxy: Boolean(trustProxy), maxIpsCount: trustProxy === true ? 0 : 1 }
      const app = new Framework(proxied)
      const errors: any[] = []
      app.use(async (ctx, next) => {
        try {
          await next()
        } catch (error: any) {
          errors.push(error)
          ctx.status = error.status ?? 500
          ctx.body = { code: error.code, message: error.expose ? error.message : undefined }
        }
      })
      for (const middleware of mount(tp)) app.use(middleware)
      app.use(async (ctx) => {
        const [status, body] = await handle(ctx)
        ctx.status = status
        ctx.body = body
      })
      return running(tp, app.callback(), errors)
    },
  }
}

const onNode: AppKind = {
  name: 'node:http',
  start({ options, mount, handle = ok }) {
    const tp = forNode(patient(options))
    const stack = mount(tp)
    const errors: any[] = []
    const listener = (req: any, res: any): void => {
      const fail = (error: any): void => {
        errors.push(error)
        res.statusCode = error.status ?? 500
        res.end(JSON.stringify({ code: error.code }))
      }
      const step = (i: number): void => {
        if (i < stack.length)
          return stack[i](req, res, (error: unknown) => (error ? fail(error) : step(i + 1)))
        answer(handle, req).then(([status, body]) => {
          res.statusCode = status
          res.end(typeof body === 'string' ? body : JSON.stringify(body))
        }, fail)
      }
      step(0)
    }
    return running(tp, listener, errors)
  },
}

/** Express 5, Express 4, Koa 3, Koa 2 and node:http, for `describe.each`. */
export const apps: AppKind[] = [
  onExpress('Express 5', express),
  onExpress('Express 4', express4),
  onKoa('Koa 3', Koa),
  onKoa('Koa 2', Koa2),
  onNode,
]

/** Those that know of proxies. */
export const proxyApps: AppKind[] = apps.filter(({ name }) => name !== 'node:http')
