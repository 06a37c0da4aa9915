/**
 * The end of a request, whatever happens to it. `close` of a response is not enough: HTTP/2 may have
 * emitted it before anyone could listen, a pipelined response whose turn never comes does not emit it
 * on Node 20 and 22, and responses that never become sockets (Lambda) end with `finish`.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { ResponseEnd } from './exchange.ts'
import { http2StreamOf, isDestroyed } from './http2.ts'
import type { ResponseState } from './response-state.ts'

const live = Symbol.for('turnpike.live@1')
/** The requests of a connection that are not over. One listener of the socket serves them all. */
type Connection = Socket & { [live]?: Set<() => void> }

/** Returns whether the client has gone, or the response was ended. */
export function isOver(req: IncomingMessage, res: ServerResponse): boolean {
  return res.writableEnded || isClosed(req, res)
}

function isClosed(req: IncomingMessage, res: ServerResponse): boolean {
  if (isDestroyed(res)) return true
  return http2StreamOf(res) === undefined && (req.socket as Socket | undefined)?.destroyed === true
}

/** Calls the callbacks of `state` once, when the request is over. */
function watchEnd(req: IncomingMessage, res: ServerResponse, state: ResponseState): void {
  const socket = req.socket as Connection | undefined
  const isOnSocket = http2StreamOf(res) === undefined && typeof socket?.on === 'function'
  const requests = isOnSocket ? requestsOf(socket) : undefined
  const conclude = (): void => {
    if (state.isFinished) return
    requests?.delete(conclude)
    finish(res, state)
  }
  requests?.add(conclude)
  res.on('finish', conclude).on('close', conclude)
}

function requestsOf(socket: Connection): Set<() => void> {
  const known = socket[live]
  if (known !== undefined) return known
  const requests = (socket[live] = new Set())
  socket.on('close', () => {
    for (const conclude of requests) conclude()
  })
  return requests
}

function finish(res: ServerResponse, state: ResponseState): void {
  state.isFinished = true
  const end = endOf(res, state)
  for (const callback of state.onFinish) {
    try {
      callback(end)
    } catch (error) {
      // One callback's mistake must not keep another from giving back what it holds.
      process.nextTick(() => {
        throw error
      })
    }
  }
}

/** Returns how a response that is over has ended. */
function endOf(res: ServerResponse, state: ResponseState): ResponseEnd {
  const { statusCode: status } = res
  // To node a withheld response may look ended, but it was not sent.
  if (state.disguise !== undefined) return { status, finished: false }
  const stream = http2StreamOf(res)
  if (stream === undefined) return { status, finished: res.writableFinished }
  return { status, finished: res.writableEnded && stream.rstCode === 0 }
}

/** Calls `callback` when the request is over: at once, if it is. */
export function onFinish(
  req: IncomingMessage,
  res: ServerResponse,
  state: ResponseState,
  callback: (end: ResponseEnd) => void,
): void {
  if (state.isFinished || isClosed(req, res)) return callback(endOf(res, state))
  if (state.onFinish.length === 0) watchEnd(req, res, state)
  state.addOnFinish(callback)
}
