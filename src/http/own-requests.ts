/**
 * Requests that this process sends to its own servers, by node:http or fetch. Their handlers run in
 * the context of the code that has sent them. Requests over TLS proxies, HTTP/2 or pipes are not
 * recognised.
 */
import { subscribe } from 'node:diagnostics_channel'
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'

/** A context that a request carries along. */
export interface CarriedContext {
  current(): object | undefined
  /** Enters the context before a request's handler runs. */
  enter(context: object | undefined): void
}

/** A connection of this process to any server, and the context of its last request. */
interface Sender {
  readonly socket: Socket
  context: object | undefined
}

/** One for each connection of a client: it ends with it. */
const senders = new Map<number, Sender>()
const carried = new WeakSet<CarriedContext>()

/** Carries a context over requests of this process to itself, from now on. */
export function carryOverOwnRequests(context: CarriedContext): void {
  if (carried.has(context)) return
  carried.add(context)
  let isReceiving = false
  const sent = (socket: Socket, current: object | undefined): void => {
    if (!isReceiving) {
      isReceiving = true
      subscribe('http.server.request.start', (message) => {
        const { request } = message as { request: IncomingMessage }
        const sender = senderOf(request)
        if (sender !== undefined) context.enter(sender.context)
      })
    }
    if (socket.connecting) socket.once('connect', () => note(socket, current))
    else note(socket, current)
  }
  observeClients(context, sent)
}

function observeClients(
  { current }: CarriedContext,
  sent: (socket: Socket, context: object | undefined) => void,
): void {
  subscribe('http.client.request.start', (message) => {
    const { request } = message as { request: ClientRequest }
    const context = current()
    if (request.socket) sent(request.socket, context)
    else request.once('socket', (socket) => sent(socket, context))
  })
  // fetch writes to a connection in any request's context.
  const contexts = new WeakMap<object, object>()
  subscribe('undici:request:create', (message) => {
    const context = current()
    if (context !== undefined) contexts.set((message as { request: object }).request, context)
  })
  subscribe('undici:client:sendHeaders', (message) => {
    const { request, socket } = message as { request: object; socket: Socket }
    sent(socket, contexts.get(request))
  })
}

function note(socket: Socket, context: object | undefined): void {
  const { localPort } = socket
  if (localPort === undefined) return
  const known = senders.get(localPort)
  if (known?.socket === socket) {
    known.context = context
    return
  }
  senders.set(localPort, { socket, context })
  socket.once('close', () => {
    if (senders.get(localPort)?.socket === socket) senders.delete(localPort)
  })
}

/** Returns the other end of a request's connection, if that is in this process. */
function senderOf({ socket }: IncomingMessage): Sender | undefined {
  if (senders.size === 0) return undefined
  const sender = senders.get(socket.remotePort ?? 0)
  // A port of another machine may have the same number.
  const isSame =
    sender?.socket.remotePort === socket.localPort &&
    plain(sender?.socket.localAddress) === plain(socket.remoteAddress)
  return isSame ? sender : undefined
}

/** Returns an address without the prefix by which IPv6 writes those of IPv4. */
const plain = (address: string | undefined): string | undefined => address?.replace(/^::ffff:/, '')
