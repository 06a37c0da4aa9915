/** Runs a program as a handler of Express, Koa or node:http. */
import { createReadStream } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { setImmediate as immediate, setTimeout as timer } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Context } from 'koa'
import type { Chunk, Program, Step } from './program.ts'

/** What a handler of the framework in use is given. */
export interface HandlerArguments {
  req: IncomingMessage & Record<string, any>
  res: ServerResponse & Record<string, any>
  /** Koa's. */
  ctx?: Context
  next(error?: unknown): unknown
}

/** One request, as its handler and its client share it. */
export interface Run {
  program: Program
  /** Resolves when the client has got this text. */
  hasGot(text: string): Promise<void>
  /** What went wrong in the handler, by its code. */
  failures: string[]
}

const FILE = fileURLToPath(new URL('file.txt', import.meta.url))
const BODIES = {
  string: 'hello',
  object: { a: [1, 'ü'] },
  Buffer: Buffer.from([1, 2, 3]),
  empty: '',
  null: null,
  long: 'z'.repeat(40_000),
}

const failure = (status: number | undefined): Error =>
  Object.assign(new Error('on purpose'), status === undefined ? {} : { status, expose: true })

/** Runs the statements of a program. A synchronous one fails synchronously. */
export function runProgram(run: Run, given: HandlerArguments): void | Promise<void> {
  const { program } = run
  const { res, ctx } = given
  if (program.hasErrorListener) res.on('error', () => {})
  if (program.isPastKoa && ctx) ctx.respond = false
  const perform = (step: Step): unknown => {
    try {
      return performStep(step, run, given)
    } catch (error) {
      run.failures.push(codeOf(error))
      throw error
    }
  }
  if (!program.isAsync) {
    for (const step of program.steps) perform(step)
    return undefined
  }
  return (async () => {
    for (const step of program.steps) {
      const done = perform(step)
      // Between two statements without `await` nothing else runs.
      if (done instanceof Promise) await done
    }
  })()
}

const codeOf = (error: unknown): string => {
  const { code, message } = error as NodeJS.ErrnoException
  return code ?? message
}

function performStep(step: Step, run: Run, given: HandlerArguments): unknown {
  const { req, res, ctx } = given
  switch (step.do) {
    case 'wait':
      return wait(step.for)
    case 'readBody':
      return readBody(req)
    case 'awaitClient':
      return run.hasGot(step.text)
    case 'changeSession': {
      const session = (ctx ?? req)['session'] as Record<string, unknown> | undefined
      if (session !== undefined && session !== null)
        session['count'] = Number(session['count'] ?? 0) + 1
      return undefined
    }
    case 'throw':
      throw failure(step.status)
    case 'next':
      return given.next(step.isError ? failure(step.status) : undefined)
    case 'destroy':
      if (step.what === 'response') return void res.destroy()
      return void (isHttp2(res) ? res.stream.destroy() : req.socket.destroy())
    case 'send':
    case 'redirect':
    case 'sendFile':
    case 'stream':
      return answer(step, run, given)
    default:
      return touchResponse(step, run, res)
  }
}

function wait(what: 'microtask' | 'tick' | 'immediate' | 'timer'): Promise<unknown> {
  if (what === 'microtask') return Promise.resolve()
  if (what === 'tick') return new Promise((resolve) => process.nextTick(resolve))
  return what === 'immediate' ? immediate() : timer(2)
}

async function readBody(req: IncomingMessage): Promise<void> {
  for await (const piece of req) void piece
}

const isHttp2 = (res: ServerResponse & Record<string, any>): boolean => res['stream'] !== undefined

/** What a handler does to the response itself. */
function touchResponse(step: Step, run: Run, res: ServerResponse & Record<string, any>): void {
  if (step.do === 'set') res.setHeader(step.name, step.value)
  else if (step.do === 'status') res.statusCode = step.status
  else if (step.do === 'writeHead') writeHead(res, step)
  else if (step.do === 'earlyHints') res.writeEarlyHints({ link: '</style.css>; rel=preload' })
  else if (step.do === 'processing') res['writeProcessing']?.()
  else if (step.do === 'flush') res.flushHeaders()
  else if (step.do === 'cork') res['cork']?.()
  else if (step.do === 'uncork') res['uncork']?.()
  else if (step.do === 'write') res.write(...writable(step.chunk))
  else if (step.do === 'trailers') {
    if (!res.headersSent) res.setHeader('Trailer', 'X-Sum')
    res.addTrailers({ 'X-Sum': '1' })
  } else if (step.do === 'end') {
    const callback = step.hasCallback ? () => void run.failures.push('ended') : undefined
    if (step.chunk === undefined) res.end(callback)
    else res.end(...writable(step.chunk), callback)
  }
}

function writable({ text, as }: Chunk): [any, any] {
  const bytes = Buffer.from(text)
  if (as === 'string') return [text, 'utf8']
  if (as === 'latin1') return [text, 'latin1']
  if (as === 'base64') return [bytes.toString('base64'), 'base64']
  return [as === 'Buffer' ? bytes : new Uint8Array(bytes), undefined]
}

function writeHead(res: ServerResponse, step: Step & { do: 'writeHead' }): void {
  const { form, status, fields } = step
  const object = Object.fromEntries(fields)
  if (form === 'status') res.writeHead(status)
  else if (form === 'reason') res.writeHead(status, 'Odd')
  else if (form === 'object') res.writeHead(status, object)
  else if (form === 'list') res.writeHead(status, fields.flat() as never)
  else res.writeHead(status, 'Odd', object)
}

type Answer = Step & { do: 'send' | 'redirect' | 'sendFile' | 'stream' }

/** Answers as the framework does it. */
function answer(step: Answer, run: Run, given: HandlerArguments): void {
  const { ctx, res } = given
  const isKoa = ctx !== undefined && !run.program.isPastKoa
  const isExpress = typeof res['send'] === 'function'
  if (step.do === 'send') {
    const body = BODIES[step.body]
    if (isKoa) Object.assign(ctx, { status: step.status, body }).status = step.status
    else if (isExpress) res['status'](step.status)['send'](body)
    else sendPlain(res, step.status, body)
  } else if (step.do === 'redirect') {
    if (isKoa) {
      ctx.status = step.status
      ctx.redirect('/elsewhere')
    } else if (isExpress) res['redirect'](step.status, '/elsewhere')
    else {
      res.setHeader('Location', '/elsewhere')
      sendPlain(res, step.status, '')
    }
  } else if (step.do === 'sendFile') {
    const file = step.isMissing ? `${FILE}.not` : FILE
    if (isExpress) res['sendFile'](file)
    else pipe(createReadStream(file), undefined, isKoa, given)
  } else {
    const length = step.hasLength ? step.chunks * step.pieces : undefined
    pipe(createStream(step), length, isKoa, given)
  }
}

function sendPlain(res: ServerResponse, status: number, body: unknown): void {
  res.statusCode = status
  const isObject = typeof body === 'object' && !Buffer.isBuffer(body) && body !== null
  res.end(isObject ? JSON.stringify(body) : (body ?? undefined))
}

function createStream({ chunks, failsAt, pieces }: Answer & { do: 'stream' }): Readable {
  return Readable.from(
    (async function* () {
      for (let index = 0; index < chunks; index++) {
        if (index === failsAt) throw failure(undefined)
        if (index % 2 === 1) await immediate()
        yield Buffer.alloc(pieces, String(index))
      }
      if (failsAt === chunks) throw failure(undefined)
    })(),
  )
}

function pipe(
  source: Readable,
  length: number | undefined,
  isKoa: boolean,
  { ctx, res }: HandlerArguments,
): void {
  if (isKoa) {
    // Koa listens for the first error only.
    ctx!.body = source.on('error', () => {})
    if (length !== undefined) ctx!.set('Content-Length', String(length))
    return
  }
  if (length !== undefined) res.setHeader('Content-Length', length)
  res.once('close', () => source.destroy())
  source.once('error', () => res.destroy())
  source.pipe(res)
}
