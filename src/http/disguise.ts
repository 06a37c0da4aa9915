/**
 * A withheld response looks to the application as if it had been sent: `headersSent`,
 * `writableEnded`, `setHeader` and `destroy` behave as node's do. Otherwise a handler that answers
 * twice changes the first answer, and an error handler that ends the connection loses it.
 */
import { OutgoingMessage, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { http2StreamOf, NGHTTP2_INTERNAL_ERROR } from './http2.ts'

/** Node's name for the head of a response, as it is sent. */
const HEADER = '_header'

/** Fields of OutgoingMessage that its methods go by. They are as old as node and widely used. */
interface Internals {
  _header: string | null
  finished: boolean
  statusCode: number
  statusMessage: string
}

/**
 * Makes a response look as if its head, or its end, had been sent.
 * @returns the function that undoes it
 */
export function disguise(res: ServerResponse, part: 'head' | 'end'): () => void {
  if (!(res instanceof OutgoingMessage)) return disguiseOther(res, part)
  const internals = res as unknown as Internals
  const { _header: header, finished, statusCode, statusMessage } = internals
  // Node's own methods refuse what comes too late, in node's own words.
  if (!header) internals[HEADER] = 'HTTP/1.1 200 OK\r\n\r\n'
  if (part === 'end' && !isInMemory(res)) internals.finished = true
  return () => {
    internals[HEADER] = header
    internals.finished = finished
    // What was assigned to the response meanwhile belongs to no response.
    internals.statusCode = statusCode
    internals.statusMessage = statusMessage
  }
}

/** A Lambda wrapper takes the body as soon as the response looks ended. Its socket is a plain object. */
const isInMemory = ({ socket }: ServerResponse): boolean =>
  socket !== null && !(socket instanceof Duplex)

const refuse = (): never => {
  const error = new Error('Response has already been initiated.')
  throw Object.assign(error, { code: 'ERR_HTTP2_HEADERS_SENT' })
}
const yes: PropertyDescriptor = { configurable: true, get: () => true, set: () => {} }
const refused: PropertyDescriptor = { configurable: true, writable: true, value: refuse }
const HEAD: PropertyDescriptorMap = {
  headersSent: yes,
  setHeader: refused,
  appendHeader: refused,
  removeHeader: refused,
}
const END: PropertyDescriptorMap = { ...HEAD, finished: yes, writableEnded: yes }

/** HTTP/2 keeps its state where it cannot be set: it is covered. */
function disguiseOther(res: ServerResponse, part: 'head' | 'end'): () => void {
  const cover = part === 'head' ? HEAD : END
  const covered = Object.keys(cover).map(
    (name) => [name, Object.getOwnPropertyDescriptor(res, name)] as const,
  )
  const { statusCode } = res
  Object.defineProperties(res, cover)
  return () => {
    res.statusCode = statusCode
    for (const [name, own] of covered) {
      if (own === undefined) delete (res as unknown as Record<string, unknown>)[name]
      else Object.defineProperty(res, name, own)
    }
  }
}

/** Refuses a second head, as node does. */
export function refuseHead(res: ServerResponse, args: unknown[]): unknown {
  if (!(res instanceof OutgoingMessage)) return refuse()
  const { writeHead } = Object.getPrototypeOf(res) as ServerResponse
  return writeHead.apply(res, args as [number])
}

/**
 * Defers `destroy` of a response and its connection. Node would have sent the withheld part already,
 * and an error handler that finds a head sent ends the connection.
 * @returns the function that carries out what was deferred
 */
export function deferDestroy(req: IncomingMessage, res: Withheld): () => void {
  const stream = http2StreamOf(res)
  const hold: Hold = { res, isSameTick: false }
  const response = (res[RESPONSE] ??= deferralOnResponse(res))
  response.holds++
  response.latest = hold
  beginTick(res)
  const connection = stream ?? (req.socket as Duplex | undefined)
  const deferral = typeof connection?.destroy === 'function' ? deferralOf(connection) : undefined
  deferral?.begin(hold)
  return () => {
    deferral?.end(hold)
    response.holds--
    if (response.holds === 0 && response.requested !== undefined) destroyNow(res, response)
  }
}

/** Notes that the handler has written or ended a response in this tick. */
export function beginTick(res: ServerResponse): void {
  const hold = (res as Withheld)[RESPONSE]?.latest
  if (hold === undefined || http2StreamOf(res) !== undefined) return
  hold.isSameTick = true
  process.nextTick(leaveTick, hold)
}

/** A response that is withheld. */
interface Hold {
  readonly res: ServerResponse
  /**
   * True in the tick in which the handler has called `end`. Never true for HTTP/2: it sends after the
   * tick, and what is destroyed in it is not sent.
   */
  isSameTick: boolean
}

function leaveTick(hold: Hold): void {
  hold.isSameTick = false
}

const RESPONSE: unique symbol = Symbol.for('turnpike.destroy@1')
type Withheld = ServerResponse & { [RESPONSE]?: ResponseDeferral }

/** What was asked of a response while it is withheld. */
interface ResponseDeferral {
  readonly destroy: ServerResponse['destroy']
  holds: number
  latest: Hold | undefined
  requested: 'now' | 'later' | undefined
}

function deferralOnResponse(res: Withheld): ResponseDeferral {
  const { destroy } = res
  // One function for all responses: with a function of its own, V8 keeps each of them alive until
  // its next full collection.
  res.destroy = destroyWhenSent
  return { destroy, holds: 0, latest: undefined, requested: undefined }
}

function destroyWhenSent(this: Withheld, error?: Error): Withheld {
  const deferral = this[RESPONSE]!
  if (deferral.holds === 0) return deferral.destroy.call(this, error)
  deferral.requested ??= deferral.latest?.isSameTick === true ? 'now' : 'later'
  return this
}

function destroyNow(res: ServerResponse, deferral: ResponseDeferral): void {
  const { requested } = deferral
  deferral.requested = undefined
  if (requested === 'now') res.destroy()
  // A tick after `end`, node has detached a response that was sent, and destroys nothing.
  else setImmediate(() => res.destroy())
}

const DEFERRAL = Symbol.for('turnpike.deferral@1')
type Connection = Duplex & { closed?: boolean; [DEFERRAL]?: ConnectionDeferral }

const deferralOf = (connection: Connection): ConnectionDeferral =>
  (connection[DEFERRAL] ??= new ConnectionDeferral(connection))

/** Defers `destroy` of a connection. Pipelined requests share one, so several responses may be withheld. */
class ConnectionDeferral {
  readonly #destroy: () => void
  readonly #holds = new Set<Hold>()
  /** The holds at the time of the call of `destroy`: it waits for these. */
  #awaited: Set<Hold> | undefined
  #isImmediate = false

  constructor(connection: Connection) {
    const { destroy } = connection
    this.#destroy = () => void destroy.call(connection)
    connection.destroy = (error) => {
      const isDead = error || !connection.writable || connection.closed
      if (this.#holds.size === 0 || isDead) return destroy.call(connection, error)
      if (this.#awaited === undefined) {
        // Before it destroys a connection, node removes its own listener (CONNECT, Upgrade). Without
        // another one, a client that resets the connection meanwhile would end the process.
        connection.on('error', () => {})
        this.#awaited = new Set(this.#holds)
        this.#isImmediate = [...this.#holds].some(({ isSameTick }) => isSameTick)
      }
      return connection
    }
  }
  begin(hold: Hold): void {
    this.#holds.add(hold)
    if (this.#awaited === undefined) return
    // A response that waited for its head now waits for its end.
    for (const { res } of this.#awaited) if (res === hold.res) return void this.#awaited.add(hold)
  }
  end(hold: Hold): void {
    this.#holds.delete(hold)
    if (this.#awaited?.delete(hold) !== true || this.#awaited.size > 0) return
    this.#awaited = undefined
    // A tick after `end`, node has sent the response, and begun to send the next one.
    if (this.#isImmediate) this.#destroy()
    else setImmediate(this.#destroy)
  }
}

/** Ends the connection so that no client can take what it has for the whole response. */
export function breakOff(res: ServerResponse): void {
  const stream = http2StreamOf(res)
  if (stream !== undefined) {
    stream.close(NGHTTP2_INTERNAL_ERROR)
    return
  }
  // A pipelined response whose turn has not come. From Node 24 on, `destroy` does nothing to it, and the
  // connection would wait for its end for ever.
  if (res.socket === null) res.assignSocket = destroySocket
  try {
    // Where the body lasts until the connection closes (HTTP/1.0), an orderly close looks like success.
    res.socket?.resetAndDestroy()
  } catch {
    // Only plain TCP can be reset.
  }
  res.destroy()
}

const destroySocket = (socket: Socket): void => void socket.destroy()

/** Fields that describe a body that is not sent after all. */
const CONTENT_FIELDS = [
  'accept-ranges',
  'age',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-range',
  'content-type',
  'etag',
  'expires',
  'last-modified',
  'trailer',
  'transfer-encoding',
]

/** Withdraws an answer that was not sent, so that another one can follow. */
export function withdraw(res: ServerResponse): void {
  // node remembers what was removed, even if it was not there.
  for (const name of CONTENT_FIELDS) if (res.hasHeader(name)) res.removeHeader(name)
  res.statusCode = 200
  // HTTP/2 has no reason phrase, and warns.
  if (http2StreamOf(res) === undefined) res.statusMessage = ''
}
