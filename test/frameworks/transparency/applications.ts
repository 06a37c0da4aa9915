/** The same handler on each framework, with and without turnpike before it. */
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import type { AddressInfo, Socket } from 'node:net'
import { turnpike as forExpress } from '../../../src/express.ts'
import { turnpike as forKoa } from '../../../src/koa.ts'
import { turnpike as forNode } from '../../../src/node.ts'
import type { Store } from '../../../src/store/store.ts'
import type { Turnpike } from '../../../src/turnpike.ts'
import { createDelay } from './delay.ts'
import { runProgram, type HandlerArguments, type Run } from './handler.ts'
import type { FeatureName, Program, Target } from './program.ts'

const require = createRequire(import.meta.url)

type AnyTurnpike = Turnpike<any, any>
type AnyMiddleware = (...args: any[]) => any

/** How the client names the request, so that an application finds its run. */
export const RUN_FIELD = 'x-run'
export const COOKIE = 'transparent'

/** An application of one framework. */
export interface Application {
  readonly port: number
  /** Undefined for the application without turnpike. */
  readonly tp: AnyTurnpike | undefined
  /** The runs in progress, by the name of their request. */
  readonly runs: Map<string, ServedRun>
  close(): Promise<void>
}

/** A run, as the server sees it. */
export interface ServedRun extends Run {
  /** The handler has returned, and its promise is settled. */
  onHandled(): void
  /** Its response has ended, whichever way. */
  onClosed(): void
  /** The server's end of the connection. */
  socket: Socket | undefined
  /** The connection's listeners, when the handler ran. */
  listeners: number
}

/** Starts an application. @param store undefined for one without turnpike */
export async function startApplication(
  target: Target,
  store: { store: Store; prefix: string } | undefined,
): Promise<Application> {
  const runs = new Map<string, ServedRun>()
  const isHttp2 = target.endsWith('HTTP/2')
  const tp = store && createTurnpike(target, store)
  const mounts = tp && createMounts(tp)
  const stackOf = (program: Program): AnyMiddleware[] => {
    if (tp === undefined || mounts === undefined) {
      return program.delay === undefined ? [] : [createDelay(target, program.delay)]
    }
    return program.mounts.flatMap((mount) => {
      const one = (name: FeatureName): AnyMiddleware => mounts[name]
      return [Array.isArray(mount) ? tp.pipeline(...mount.map(one)) : one(mount)]
    })
  }
  const find = (req: any): ServedRun | undefined => runs.get(req.headers[RUN_FIELD])
  const framework = target.startsWith('Express')
    ? onExpress
    : target.startsWith('Koa')
      ? onKoa
      : onNode
  const app = framework(target, find, stackOf)
  const listener = tp ? tp.cacheListener(app) : app
  const server = isHttp2
    ? (createHttp2Server(listener as never) as unknown as Server)
    : createServer(listener)
  server.on('request', (req, res) => {
    const run = find(req)
    if (run === undefined) return
    run.socket = req.socket
    run.listeners = req.socket.listenerCount('close')
    let isOver = false
    const close = (): void => {
      if (!isOver) run.onClosed()
      isOver = true
    }
    res.once('close', close)
    req.socket.once('close', close)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    tp,
    runs,
    async close() {
      server.closeAllConnections?.()
      server.close()
      await tp?.close()
    },
  }
}

function createTurnpike(target: Target, store: { store: Store; prefix: string }): AnyTurnpike {
  const factory = target.startsWith('Express')
    ? forExpress
    : target.startsWith('Koa')
      ? forKoa
      : forNode
  return factory({ ...store, requestBudget: '30s', logger: false }) as AnyTurnpike
}

const PLENTY = 1_000_000_000

function createMounts(tp: AnyTurnpike): Record<FeatureName, AnyMiddleware> {
  const field = (native: any, name: string): string => native.headers[name]
  const session = {
    secret: 's'.repeat(32),
    name: COOKIE,
    ttl: '1h',
    cookie: { secure: false },
  } as const
  return {
    session: tp.session(session),
    'near session': tp.session({ ...session, near: '1m' }),
    'rolling session': tp.session({ ...session, rolling: true, saveUninitialized: true }),
    rateLimit: tp.rateLimit({ limit: PLENTY, window: '1m' }),
    'rateLimit with refunds': tp.rateLimit({
      limit: PLENTY,
      window: '1h',
      skipSuccessful: true,
      legacyHeaders: true,
    }),
    loginGuard: tp.loginGuard({
      key: (native: any) => field(native, RUN_FIELD),
      outcome: (_native: any, status: number) => status < 400,
      limit: 100,
      addressLimit: Infinity,
    }),
    cache: tp.cache({ ttl: '1m' }),
    'near cache': tp.cache({ ttl: '1m', near: true, name: 'near' }),
    'cache before the framework': tp.cache({
      ttl: '1m',
      near: true,
      public: true,
      beforeFramework: true,
      name: 'first',
    }),
    idempotency: tp.idempotency({ scope: () => 'everybody' }),
    exclusive: tp.exclusive({
      key: (native: any) => field(native, RUN_FIELD),
      wait: '10s',
      lease: '2s',
    }),
    concurrency: tp.concurrency({ limit: 10_000, name: 'transparency' }),
  }
}

/** Runs a handler, and tells its run when it is done. */
async function handle(run: ServedRun, given: HandlerArguments): Promise<void> {
  try {
    await runProgram(run, given)
  } finally {
    run.onHandled()
  }
}

/** As `handle`, but a synchronous program throws at once, as an ordinary handler does. */
function handleAtOnce(run: ServedRun, given: HandlerArguments): unknown {
  if (run.program.isAsync) return handle(run, given)
  try {
    return runProgram(run, given)
  } finally {
    run.onHandled()
  }
}

type Find = (req: any) => ServedRun | undefined
type StackOf = (program: Program) => AnyMiddleware[]

function onExpress(target: Target, find: Find, stackOf: StackOf): RequestListener {
  const express = require(target === 'Express 4' ? 'express4' : 'express')
  const app = express()
  // Express logs what it answers itself, except in tests.
  app.set('env', 'test')
  app.use((req: any, res: any, next: any) => {
    const run = find(req)
    if (run === undefined) return res.send('next')
    const router = express.Router()
    for (const middleware of stackOf(run.program)) router.use(middleware)
    router.use((req: any, res: any, next: any) => {
      const done = handleAtOnce(run, { req, res, next })
      // Express 4 does not know promises.
      if (target === 'Express 4') void Promise.resolve(done).catch(next)
      return target === 'Express 4' ? undefined : done
    })
    return router(req, res, next)
  })
  app.use((error: any, req: any, res: any, next: any) => {
    const { errorHandler } = find(req)!.program
    if (errorHandler === 'none' || (errorHandler === 'careful' && res.headersSent)) {
      // Without a stack, which tells what is mounted.
      return next({ status: error.status })
    }
    return res.status(error.status ?? 500).send('failed')
  })
  return app
}

/** Runs middlewares of Koa one inside the other. */
function compose(stack: AnyMiddleware[], ctx: any, next: any): unknown {
  const [first, ...rest] = stack
  if (first === undefined) return next()
  return first(ctx, async () => compose(rest, ctx, next))
}

function onKoa(target: Target, find: Find, stackOf: StackOf): RequestListener {
  const Koa = require(target.startsWith('Koa 2') ? 'koa2' : 'koa')
  const app = new Koa()
  app.silent = true
  app.on('error', () => {})
  app.use(async (ctx: any, next: any) => {
    const run = find(ctx.req)
    try {
      await next()
    } catch (error: any) {
      const isLeft =
        run === undefined || run.program.errorHandler === 'none' || ctx.respond === false
      if (isLeft || (run.program.errorHandler === 'careful' && ctx.headerSent)) throw error
      ctx.status = error.status ?? 500
      ctx.body = 'failed'
    }
  })
  app.use((ctx: any, next: any) => {
    const run = find(ctx.req)
    if (run === undefined) return void (ctx.body = 'next')
    const handler = async (ctx: any, next: any): Promise<void> =>
      handle(run, { req: ctx.req, res: ctx.res, ctx, next })
    return compose([...stackOf(run.program), handler], ctx, next)
  })
  return app.callback()
}

function onNode(_target: Target, find: Find, stackOf: StackOf): RequestListener {
  return (req: any, res: any) => {
    const run = find(req)
    if (run === undefined) {
      res.end('next')
      return
    }
    const fail = (error: any): void => {
      if (res.writableEnded) return
      if (res.headersSent && run.program.errorHandler !== 'careless') return void res.destroy()
      try {
        res.statusCode = error?.status ?? 500
        res.setHeader('Content-Type', 'text/plain')
        res.end('failed')
      } catch {
        res.destroy()
      }
    }
    const stack = stackOf(run.program)
    const step = (index: number): void => {
      const middleware = stack[index]
      if (middleware !== undefined) {
        return middleware(req, res, (error: any) => (error ? fail(error) : step(index + 1)))
      }
      const next = (error: any): void => {
        if (error) return fail(error)
        if (res.headersSent) return
        res.statusCode = 404
        res.end('nothing here')
      }
      try {
        void Promise.resolve(handleAtOnce(run, { req, res, next })).catch(fail)
      } catch (error) {
        fail(error)
      }
    }
    step(0)
  }
}
