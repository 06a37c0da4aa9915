import { once } from 'node:events'
import { Agent, createServer, request, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import express4 from 'express4'
import Koa from 'koa'
import { onTestFinished } from 'vitest'
import { turnpike as forExpress } from '../../src/express.ts'
import type { Turnpike, TurnpikeOptions } from '../../src/turnpike.ts'
import { turnpike as forKoa } from '../../src/koa.ts'
import { watchStarvation } from './starvation.ts'

export type AnyTurnpike = Turnpike<any, any>

/** Routes of an application: one middleware under test each, and a handler that answers 200, or what X-Status says. */
export interface Setup {
  options: TurnpikeOptions<any>
  routes(tp: AnyTurnpike): Record<string, any>
}

export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: string
  /**
   * How long the application took, from the request's arrival to the end of its answer, in ms,
   * without the time in which this process could not run.
   */
  ms: number
}

export interface Served {
  tp: AnyTurnpike
  get(path: string, headers?: Record<string, string>): Promise<Answer>
  /** What reached the framework's error handler. */
  errors: unknown[]
}

export interface Framework {
  name: string
  serve(setup: Setup): Promise<Served>
}

const wanted = (headers: Record<string, string | string[] | undefined>): number =>
  Number(headers['x-status'] ?? 200)

function onExpress(name: string, framework: typeof express): Framework {
  return {
    name,
    async serve({ options, routes }) {
      const tp: AnyTurnpike = forExpress(options)
      const errors: unknown[] = []
      const app = framework()
      for (const [path, middleware] of Object.entries(routes(tp))) {
        app.get(path, middleware, (req, res) => void res.status(wanted(req.headers)).send('ok'))
      }
      app.use((error: any, _req: any, res: any, _next: any) => {
        errors.push(error)
        res.status(error.status ?? 500).send('error')
      })
      return await listen(tp, app, errors)
    },
  }
}

const onKoa: Framework = {
  name: 'Koa 3',
  async serve({ options, routes }) {
    const tp: AnyTurnpike = forKoa(options)
    const errors: unknown[] = []
    const app = new Koa()
    app.silent = true
    app.on('error', (error) => errors.push(error))
    for (const [path, middleware] of Object.entries(routes(tp))) {
      app.use((ctx, next) => (ctx.path === path ? middleware(ctx, next) : next()))
    }
    app.use((ctx) => {
      ctx.status = wanted(ctx.headers)
      ctx.body = 'ok'
    })
    return await listen(tp, app.callback(), errors)
  },
}

export const express5: Framework = onExpress('Express 5', express)
export const express4App: Framework = onExpress('Express 4', express4)
export const koa3: Framework = onKoa

async function listen(tp: AnyTurnpike, app: RequestListener, errors: unknown[]): Promise<Served> {
  const took = new Map<string, number>()
  const server = createServer((req, res) => {
    const began = performance.now()
    const lost = watchStarvation()
    const id = String(req.headers['x-test-id'])
    res.on('finish', () => took.set(id, performance.now() - began - lost()))
    app(req, res)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const agent = new Agent({ keepAlive: true })
  onTestFinished(async () => {
    agent.destroy()
    server.closeAllConnections()
    server.close()
    await tp.close()
  })
  let count = 0
  async function get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    const id = String(++count)
    const req = request({ port, path, agent, headers: { ...headers, 'x-test-id': id } }).end()
    const [res] = await once(req, 'response')
    const pieces: Buffer[] = []
    for await (const piece of res) pieces.push(piece as Buffer)
    const ms = took.get(id) ?? NaN
    took.delete(id)
    return {
      status: res.statusCode,
      headers: res.headers,
      body: Buffer.concat(pieces).toString(),
      ms,
    }
  }
  return { tp, errors, get }
}
