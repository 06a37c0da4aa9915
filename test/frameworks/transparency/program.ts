/** Random programs: what a handler does, what its client does, and what is mounted before it. */
import { Random } from './random.ts'
import { StepWriter, TEXTS } from './step-writer.ts'

/** The applications that programs run in. */
export const TARGETS = [
  'Express 4',
  'Express 5',
  'Koa 2',
  'Koa 3',
  'node:http',
  'node:http over HTTP/2',
  'Koa 2 over HTTP/2',
  'Koa 3 over HTTP/2',
] as const
export type Target = (typeof TARGETS)[number]

/** Features that can be mounted. A list of lists is a pipeline. */
export const FEATURES = [
  'session',
  'rolling session',
  'near session',
  'rateLimit',
  'rateLimit with refunds',
  'loginGuard',
  'cache',
  'near cache',
  'cache before the framework',
  'idempotency',
  'exclusive',
  'concurrency',
] as const
export type FeatureName = (typeof FEATURES)[number]

/** Where the features keep their state: at once, after a while, or in a real Redis. */
export type Engine = 'in-process' | 'slow in-process' | 'Redis'

export interface Chunk {
  text: string
  as: 'string' | 'latin1' | 'base64' | 'Buffer' | 'Uint8Array'
}

/** One statement of a handler. */
export type Step =
  | { do: 'wait'; for: 'microtask' | 'tick' | 'immediate' | 'timer' }
  | { do: 'set'; name: string; value: string | string[] }
  | { do: 'status'; status: number }
  | { do: 'changeSession' }
  | { do: 'readBody' }
  /** As the framework does it. */
  | { do: 'send'; status: number; body: 'string' | 'object' | 'Buffer' | 'empty' | 'null' | 'long' }
  | { do: 'redirect'; status: number }
  | { do: 'sendFile'; isMissing: boolean }
  | {
      do: 'stream'
      chunks: number
      failsAt: number | undefined
      hasLength: boolean
      pieces: number
    }
  /** On the response itself. */
  | {
      do: 'writeHead'
      form: 'status' | 'reason' | 'object' | 'list' | 'reason and object'
      status: number
      fields: [string, string][]
    }
  | { do: 'earlyHints' | 'processing' | 'flush' | 'trailers' | 'cork' | 'uncork' }
  | { do: 'write'; chunk: Chunk }
  | { do: 'end'; chunk?: Chunk; hasCallback: boolean }
  /** Goes on when the client has got all that was written. */
  | { do: 'awaitClient'; text: string }
  | { do: 'throw'; status: number | undefined }
  | { do: 'next'; status: number | undefined; isError: boolean }
  | { do: 'destroy'; what: 'response' | 'connection' }

export interface Program {
  seed: number
  target: Target
  engine: Engine
  /** From the outermost to the innermost. An array is a pipeline. */
  mounts: (FeatureName | FeatureName[])[]
  method: 'GET' | 'HEAD' | 'POST'
  headers: Record<string, string>
  /** The request's body, in pieces. */
  body: string[]
  isChunked: boolean
  version: '1.1' | '1.0'
  /** Has the client a session from before? */
  hasSession: boolean
  /** The next request on the connection: none, in the same packet, or after the first response. */
  second: 'none' | 'pipelined' | 'after' | 'the same again'
  /** The client leaves at this stage. */
  leaves: 'never' | 'at once' | 'in the upload' | 'after the head' | 'in the body' | 'after a while'
  isAsync: boolean
  /** Koa's `ctx.respond = false`. */
  isPastKoa: boolean
  hasErrorListener: boolean
  errorHandler: 'none' | 'careful' | 'careless'
  steps: Step[]
  /** The bare application: what a middleware of it waits for, as any that asks a database does. */
  delay?: Delay | undefined
}

export type Delay = 'immediate' | 'socket' | 'timer'

export const isKoa = (target: Target): boolean => target.startsWith('Koa')
export const isHttp2 = (target: Target): boolean => target.endsWith('HTTP/2')

/** A program whose handler is not written yet. */
export type Draft = Omit<Program, 'steps' | 'second'>

/** Creates the program of a seed. */
export function createProgram(seed: number): Program {
  const random = new Random(seed)
  const target = random.pick(TARGETS)
  const method = random.chance(0.6) ? 'GET' : random.pick(['HEAD', 'POST'] as const)
  const mounts = createMounts(random)
  const isPastKoa = isKoa(target) && random.chance(0.5)
  const body = method === 'POST' ? random.list(0, 3, () => random.pick(TEXTS)) : []
  const leaves = random.chance(0.85)
    ? ('never' as const)
    : random.pick([
        'at once',
        'in the upload',
        'after the head',
        'in the body',
        'after a while',
      ] as const)
  const hasErrorListener = random.chance(0.5)
  const draft: Draft = {
    seed,
    target,
    engine: random.chance(0.25) ? 'Redis' : random.pick(['in-process', 'slow in-process'] as const),
    mounts,
    method,
    headers: {},
    body: leaves === 'in the upload' ? ['upload'] : body,
    isChunked: random.chance(0.5),
    version: random.chance(0.9) || isHttp2(target) ? '1.1' : '1.0',
    hasSession: random.chance(0.3),
    leaves,
    isAsync: random.chance(0.5),
    isPastKoa,
    hasErrorListener,
    errorHandler: random.pick(['none', 'careful', 'careless'] as const),
  }
  if (leaves === 'in the upload') draft.method = 'POST'
  // On Node 20, Koa takes every HEAD request over HTTP/2 for one whose client has left.
  else if (method === 'HEAD' && isKoa(target) && isHttp2(target)) draft.method = 'GET'
  if (random.chance(0.1)) draft.headers['connection'] = 'close'
  // After the last request of a connection nothing more may come.
  const isLast = draft.version === '1.0' || draft.headers['connection'] === 'close'
  // A server that closes with bytes unread resets the connection, and the reset may overtake the
  // response (RFC 9112, 9.6). One piece arrives with the head.
  if (isLast) draft.body = draft.body.slice(0, 1)
  // A cache answers ranges and conditions itself.
  if (!mounts.flat().some((name) => name.includes('cache'))) {
    if (random.chance(0.1)) draft.headers['range'] = 'bytes=1-3'
    if (random.chance(0.1)) draft.headers['if-none-match'] = '*'
  }
  const steps = new StepWriter(random, draft).write()
  const second = isLast
    ? 'none'
    : random.pick(['none', 'pipelined', 'after', 'the same again'] as const)
  return { ...draft, second, steps }
}

function createMounts(random: Random): Program['mounts'] {
  // Two sessions, or two caches, are not what an application mounts for one request.
  const left = FEATURES.filter(
    (name) =>
      name !== 'rolling session' &&
      name !== 'near session' &&
      name !== 'near cache' &&
      name !== 'cache before the framework',
  )
  const chosen = random.some(left, 0.35).map((name): FeatureName => {
    if (name === 'session' && random.chance(0.6))
      return random.pick(['rolling session', 'near session'] as const)
    if (name === 'cache' && random.chance(0.5)) {
      return random.pick(['near cache', 'cache before the framework'] as const)
    }
    return name
  })
  if (chosen.length === 0) return [random.pick(FEATURES)]
  if (chosen.length < 2 || random.chance(0.6)) return chosen
  const from = random.below(chosen.length - 1)
  const to = from + 2 + random.below(chosen.length - from - 1)
  return [...chosen.slice(0, from), chosen.slice(from, to), ...chosen.slice(to)]
}
