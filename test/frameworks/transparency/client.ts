/** Clients that send a program's requests over a socket, or over HTTP/2. */
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { setImmediate as immediate, setTimeout as timer } from 'node:timers/promises'
import { COOKIE, RUN_FIELD, type Application, type ServedRun } from './applications.ts'
import type { Program } from './program.ts'
import { readResponses, type Received } from './wire.ts'

/** How long a client waits for what must come. */
const PATIENCE = 15_000

/** What a client has seen of a program. */
export interface Seen {
  responses: Received[]
  /** Bytes that belong to no response. */
  rest: string
  isClosed: boolean
  /** HTTP/2: how each stream was reset. */
  resets: number[]
  /** Codes of the handler's errors. */
  failures: string[]
  /** Listeners that the connection had when the handler ran. */
  listeners: number
  isTimedOut: boolean
}

/** Asks an application for a program, as the program's client does, and returns what it saw. */
export async function playProgram(
  application: Application,
  program: Program,
  cookie: string | undefined,
): Promise<Seen> {
  const watched = watchRun(application, program)
  const isHttp2 = program.target.endsWith('HTTP/2')
  const seen = isHttp2
    ? await playHttp2(application, program, cookie, watched)
    : await playHttp1(application, program, cookie, watched)
  // An aborted request is over a little later than its connection.
  if (program.leaves !== 'never') await Promise.race([watched.closed, timer(50)])
  application.runs.delete(String(program.seed))
  const { failures, listeners } = watched.run
  return { ...seen, failures, listeners, isTimedOut: watched.isTimedOut() }
}

interface Watched {
  run: ServedRun
  handled: Promise<void>
  closed: Promise<void>
  /** What the client has got so far. */
  got(text: string): void
  isTimedOut(): boolean
}

/** Makes the run known to the application. */
function watchRun(application: Application, program: Program): Watched {
  let isTimedOut = false
  let text = ''
  let listeners: (() => void)[] = []
  let onHandled!: () => void
  let onClosed!: () => void
  const handled = new Promise<void>((resolve) => (onHandled = resolve))
  const closed = new Promise<void>((resolve) => (onClosed = resolve))
  const run: ServedRun = {
    program,
    socket: undefined,
    failures: [],
    listeners: 0,
    onHandled,
    onClosed,
    hasGot: (wanted: string) =>
      new Promise<void>((resolve) => {
        const late = setTimeout(() => {
          isTimedOut = true
          resolve()
        }, PATIENCE)
        const look = (): void => {
          if (!text.includes(wanted)) return
          clearTimeout(late)
          resolve()
        }
        listeners.push(look)
        look()
        void closed.then(() => {
          clearTimeout(late)
          resolve()
        })
      }),
  }
  application.runs.set(String(program.seed), run)
  return {
    run,
    handled,
    closed,
    got(piece) {
      text += piece
      for (const look of listeners) look()
    },
    isTimedOut: () => isTimedOut,
  }
}

const fieldsOf = (program: Program, cookie: string | undefined): Record<string, string> => ({
  ...program.headers,
  [RUN_FIELD]: String(program.seed),
  'idempotency-key': `key-${program.seed}`,
  ...(cookie !== undefined && { cookie: `${COOKIE}=${cookie}` }),
})

function headOf(program: Program, cookie: string | undefined): string {
  const { body, isChunked, method, version, seed } = program
  const fields = fieldsOf(program, cookie)
  if (program.method === 'POST') {
    fields['content-type'] = 'text/plain'
    if (program.leaves === 'in the upload') fields['content-length'] = '1000'
    else if (isChunked && version === '1.1') fields['transfer-encoding'] = 'chunked'
    else fields['content-length'] = String(Buffer.byteLength(body.join('')))
  }
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} /${seed} HTTP/${version}\r\nHost: a\r\n${lines.join('')}\r\n`
}

function bodyOf({ body, isChunked, version, method, leaves }: Program): string[] {
  if (method !== 'POST') return []
  if (!isChunked || version !== '1.1' || leaves === 'in the upload') return body
  const chunks = body
    .filter((piece) => piece !== '')
    .map((piece) => `${Buffer.byteLength(piece).toString(16)}\r\n${piece}\r\n`)
  return [...chunks, '0\r\n\r\n']
}

const NEXT = 'GET /next HTTP/1.1\r\nHost: a\r\n\r\n'

async function playHttp1(
  application: Application,
  program: Program,
  cookie: string | undefined,
  watched: Watched,
): Promise<Omit<Seen, 'failures' | 'listeners' | 'isTimedOut'>> {
  const socket = connect(application.port, '127.0.0.1').on('error', () => {})
  const chunks: Buffer[] = []
  const methods: string[] = [program.method]
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    watched.got(chunk.toString('latin1'))
    if (program.leaves === 'after the head') socket.destroy()
    if (program.leaves === 'in the body' && Buffer.concat(chunks).length > 400) socket.destroy()
  })
  const read = (): ReturnType<typeof readResponses> =>
    readResponses(Buffer.concat(chunks), methods, socket.closed)
  const isPipelined = program.second === 'pipelined' && program.leaves === 'never'
  const pieces = [headOf(program, cookie), ...bodyOf(program)]
  if (isPipelined) methods.push('GET')
  // In one packet, or each piece in a packet of its own.
  if (isPipelined || program.body.length < 2)
    socket.write(pieces.join('') + (isPipelined ? NEXT : ''))
  else {
    for (const piece of pieces) {
      socket.write(piece)
      await immediate()
    }
  }
  if (program.leaves !== 'never') {
    await leave(socket, program)
    return { responses: [], rest: '', isClosed: true, resets: [] }
  }
  const isWhole = (): boolean =>
    read().responses.filter((one) => one.isComplete).length >= methods.length
  let isClosed = await settle(socket, watched)
  if (
    (program.second === 'after' || program.second === 'the same again') &&
    !isClosed &&
    isWhole()
  ) {
    methods.push(program.second === 'after' ? 'GET' : program.method)
    socket.write(program.second === 'after' ? NEXT : pieces.join(''))
    const end = performance.now() + PATIENCE
    while (!isWhole() && !socket.closed && performance.now() < end) await timer(1)
    isClosed = await settle(socket, watched)
  }
  const { responses, rest } = read()
  socket.destroy()
  return { responses, rest, isClosed, resets: [] }
}

async function leave(socket: Socket, { leaves, seed }: Program): Promise<void> {
  if (leaves === 'at once') await immediate()
  else if (leaves === 'after a while' || leaves === 'in the upload') await timer(1 + (seed % 5))
  else await Promise.race([new Promise((resolve) => socket.once('close', resolve)), timer(20)])
  socket.destroy()
}

/**
 * Waits until the application has done all that it will do, and the client has got all of it.
 * @returns whether the server has closed the connection
 */
async function settle(socket: Socket, { handled, closed, run }: Watched): Promise<boolean> {
  await Promise.race([Promise.all([handled, closed]), timer(PATIENCE)])
  // An error takes some turns from the handler to the framework's own error handler.
  await timer(2)
  for (let turn = 0; turn < 4; turn++) await immediate()
  const { socket: other } = run
  const isClosing = other === undefined || other.destroyed || other.writableEnded
  const end = performance.now() + PATIENCE
  const isAllThere = (): boolean => !isClosing && socket.bytesRead === other.bytesWritten
  while (!socket.closed && !isAllThere() && performance.now() < end) await timer(1)
  return isClosing
}

async function playHttp2(
  application: Application,
  program: Program,
  cookie: string | undefined,
  watched: Watched,
): Promise<Omit<Seen, 'failures' | 'listeners' | 'isTimedOut'>> {
  const client = connectHttp2(`http://127.0.0.1:${application.port}`).on('error', () => {})
  const { connection: _connection, ...fields } = fieldsOf(program, cookie)
  const head = { ':method': program.method, ':path': `/${program.seed}`, ...fields }
  const isLeaving = program.leaves !== 'never'
  const asked = [askHttp2(client, head, program, watched)]
  if (program.second === 'pipelined' && !isLeaving) {
    asked.push(askHttp2(client, { ':path': '/next' }, undefined, undefined))
  }
  const first = await Promise.all(asked)
  await Promise.race([
    Promise.all([watched.handled, watched.closed]),
    timer(isLeaving ? 20 : PATIENCE),
  ])
  const more: typeof asked = []
  if (
    !isLeaving &&
    !client.destroyed &&
    first.every(({ received }) => received.isComplete) &&
    (program.second === 'after' || program.second === 'the same again')
  ) {
    const again = program.second === 'after' ? { ':path': '/next' } : head
    more.push(askHttp2(client, again, program.second === 'after' ? undefined : program, undefined))
  }
  const all = [...first, ...(await Promise.all(more))]
  const isClosed = client.destroyed
  // Node 20 may end the process if a connection of HTTP/2 is destroyed while something is under way.
  client.close()
  if (isLeaving) return { responses: [], rest: '', isClosed: true, resets: [] }
  return {
    responses: all.map(({ received }) => received),
    rest: '',
    isClosed,
    resets: all.map(({ reset }) => reset),
  }
}

/** Sends one request of HTTP/2 and reads its response. */
async function askHttp2(
  client: ClientHttp2Session,
  head: Record<string, string>,
  program: Program | undefined,
  watched: Watched | undefined,
): Promise<{ received: Received; reset: number }> {
  const stream = client.request(head).on('error', () => {})
  const received: Received = {
    status: NaN,
    reason: '',
    fields: [],
    framing: '',
    body: '',
    trailers: [],
    informational: [],
    isComplete: false,
  }
  const linesOf = (fields: object): string[] =>
    Object.entries(fields)
      .filter(([name]) => name !== ':status')
      .flatMap(([name, value]) => [value].flat().map((one) => `${name}: ${one}`))
      .sort()
  const leaves = program?.leaves ?? 'never'
  stream.on('headers', (fields) =>
    received.informational.push([fields[':status'], ...linesOf(fields)].join('|')),
  )
  stream.on('response', (fields) => {
    received.status = Number(fields[':status'])
    received.fields = linesOf(fields)
    if (leaves === 'after the head') stream.close(8)
  })
  stream.on('trailers', (fields) => (received.trailers = linesOf(fields)))
  stream.on('data', (chunk: Buffer) => {
    received.body += chunk.toString('latin1')
    watched?.got(chunk.toString('latin1'))
    if (leaves === 'in the body') stream.close(8)
  })
  stream.on('end', () => (received.isComplete = true))
  const isSent = new Promise((resolve) => stream.once('close', resolve))
  for (const piece of program?.body ?? []) stream.write(piece)
  if (leaves !== 'in the upload') stream.end()
  if (leaves === 'at once') stream.close(8)
  if (leaves === 'after a while' || leaves === 'in the upload') {
    await timer(1 + (program!.seed % 5))
    stream.close(8)
  }
  await Promise.race([isSent, timer(leaves === 'never' ? PATIENCE : 100)])
  return { received, reset: stream.rstCode ?? NaN }
}
