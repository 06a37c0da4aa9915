/**
 * Requests without a response. Servers call `middleware(req, {}, callback)` on `upgrade`, and
 * engine.io passes a stand-in for the response of a WebSocket handshake.
 */
import { ServerResponse, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Next } from './connect-middleware.ts'
import type { Plan, Reply } from './exchange.ts'
import { maskHeaders } from './request-mask.ts'
import { sendReply } from './send-reply.ts'

/** What a handshake passes in the place of a response. engine.io's can end, `{}` cannot. */
type StandIn = { readonly socket?: Duplex | null; readonly statusCode?: number; end?: unknown }

/** Returns whether `res` is a response that can be answered on: one of node's, or a subclass of it. */
export function isResponse(res: object): boolean {
  if (res instanceof ServerResponse) return true
  const { getHeaders, once } = res as Partial<ServerResponse>
  return typeof getHeaders === 'function' && typeof once === 'function'
}

/** Applies the part of a plan that needs no response, and watches for the end of the connection. */
export function applyToHandshake(req: IncomingMessage, res: StandIn, plan: Plan): void {
  if (plan.reply !== undefined || plan.refusal !== undefined) return
  const { state, assign, requestHeaders, onFinish } = plan
  if (requestHeaders !== undefined) maskHeaders(req, requestHeaders)
  if (state !== undefined) Object.assign(req, state)
  if (assign !== undefined) Object.assign(req, assign)
  if (onFinish !== undefined) {
    const { statusCode: status = 101 } = res
    onHandshakeEnd(req, () => onFinish({ status, finished: true }))
  }
}

/** Calls `then` when the connection has closed: at once if it is not open, since nothing would report it. */
export function onHandshakeEnd(req: IncomingMessage, then: () => void): void {
  const { socket } = req as { socket?: IncomingMessage['socket'] }
  if (socket === undefined || socket.destroyed) then()
  else socket.once('close', then)
}

/**
 * Hands an error to the callback, once. A callback that cannot receive it would take the call for
 * "go on", so the client is answered first, and what the callback does then has no effect.
 */
export function failHandshake(
  req: IncomingMessage,
  res: StandIn,
  next: Next,
  error: unknown,
  reply: Reply,
): void {
  if (typeof res.end === 'function' && res.socket)
    return answer(req, res.socket, reply, () => next(error))
  if (next.length > 0) return next(error)
  const { socket } = req as { socket?: IncomingMessage['socket'] }
  if (socket !== undefined) answer(req, socket, reply, () => {})
  try {
    next(error)
  } catch {
    // The callback went on without what the middleware would have provided.
  }
}

/** Answers on the socket itself, closes it, and then calls `done`. */
function answer(req: IncomingMessage, socket: Duplex, reply: Reply, done: () => void): void {
  if (!socket.writable) return done()
  const res = new ServerResponse(req)
  res.shouldKeepAlive = false
  res.assignSocket(socket as IncomingMessage['socket'])
  sendReply(req, res, reply, () => socket.destroy())
  res.detachSocket(socket as IncomingMessage['socket'])
  socket.once('error', () => {})
  socket.end(done)
}
