/**
 * The end of a request, whatever happens to it. `close` of a response is not enough: HTTP/2 may have
 * emitted it before anyone could listen, and does not emit it for HEAD before `end`. A pipelined
 * response whose turn never comes does not emit it on Node 20 and 22, and responses that never become
 * sockets (Lambda) end with `finish`.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { ResponseEnd } from './exchange.ts'
import { http2StreamOf } from './http2.ts'
import type { ResponseState } from './response-state.ts'

const live = Symbol.for('turnpike.live@1')
/** The requests of a connection that are not over. One listener of the socket serves them all. */
type Connection = Socket & { [live]?: Set<() => void> }

/** Returns whether the client has gone, or the response was ended. */
export function isOver(req: IncomingMessage, res: ServerResponse): boolean {
  return res.writableEnded || isClosed(req, res)
}

function isClosed(req: IncomingMessage, res: ServerResponse): boolean {
  const stream = http2StreamOf(res)
  if (stream !== undefined) return stream.destroyed || stream.closed
  return res.destroyed || (req.socket as Socket | undefined)?.destroyed === true
}

/** Calls the callbacks of `state` once, when the request is over. */
function watchEnd(res: ServerResponse, state: ResponseState): void {
  const socket = state.req.socket as Connection | undefined
  const stream = http2StreamOf(res)
  const requests =
    stream === undefined && typeof socket?.on === 'function' ? requestsOf(socket) : undefined
  const conclude = (isSent: boolean): void => {
    if (state.isFinished) return
    requests?.delete(onClose)
    finish(res, state, isSent)
  }
  const onClose = (): void => conclude(false)
  requests?.add(onClose)
  if (stream !== undefined) {
    // The response emits `finish` for every stream that closes.
    stream.on('close', onClose)
    return
  }
  res.on('finish', () => conclude(true))
  res.on('close', onClose)
}

function requestsOf(socket: Connection): Set<() => void> {
  const known = socket[live]
  if (known !== undefined) return known
  const requests = (socket[live] = new Set())
  socket.on('close', () => {
    for (const onClose of requests) onClose()
  })
  return requests
}

function finish(res: ServerResponse, state: ResponseState, isSent: boolean): void {
  state.isFinished = true
  state.unmask()
  const end = endOf(res, state, isSent)
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
function endOf(res: ServerResponse, state: ResponseState, isSent = false): ResponseEnd {
  const { statusCode: status } = res
  // To node a withheld response may look ended, but it was not sent.
  if (state.disguise !== undefined) return { status, finished: false }
  const stream = http2StreamOf(res)
  if (stream === undefined) return { status, finished: isSent || res.writableFinished }
  return { status, finished: res.writableEnded && stream.rstCode === 0 }
}

/** Calls `callback` when the request is over: at once, if it is. */
export function onFinish(
  state: ResponseState,
  res: ServerResponse,
  callback: (end: ResponseEnd) => void,
): void {
  if (state.isFinished || isClosed(state.req, res)) return callback(endOf(res, state))
  if (state.onFinish.length === 0) watchEnd(res, state)
  state.addOnFinish(callback)
}
