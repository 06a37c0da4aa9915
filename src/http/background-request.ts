/** Sends a request through the whole application again, to refresh a stored response. No client waits for it. */
import { IncomingMessage, ServerResponse, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'

const made = Symbol.for('turnpike.background@1')
/** A handler that never ends must not be kept for ever. */
const PATIENCE = 60_000

/** What a request is made for: to fill an entry again, or before clients ask for it. */
type Purpose = 'refresh' | 'warm'

/** Was this request made here? */
export function isBackgroundRequest(req: IncomingMessage): boolean {
  return made in req
}

/** Was this request made here to fill an entry again? */
export function isRefreshRequest(req: IncomingMessage): boolean {
  return (req as { [made]?: Purpose })[made] === 'refresh'
}

/** A connection without a client. It discards what is written, and has the methods of a socket. */
class NullConnection extends Duplex {
  override _read(): void {}
  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done()
  }
  setTimeout(): this {
    return this
  }
  setNoDelay(): this {
    return this
  }
  setKeepAlive(): this {
    return this
  }
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }
  address(): object {
    return {}
  }
  destroySoon(): void {
    this.destroy()
  }
  resetAndDestroy(): this {
    return this.destroy()
  }
}

/**
 * Hand a request to the server that `req` came through.
 *
 * @param url the target, as the client sent it
 * @param fields request headers to be changed or, where undefined, left out
 * @returns when it is over; undefined where there is no such server, as under HTTP/2
 */
export function sendBackgroundRequest(
  req: IncomingMessage,
  url: string,
  fields: Record<string, string | undefined>,
): Promise<void> | undefined {
  const { server, remoteAddress, remotePort, encrypted } = req.socket as Socket & {
    server?: Server
    encrypted?: boolean
  }
  if (server === undefined || req.httpVersionMajor > 1) return undefined
  return dispatchRequest(
    server,
    url,
    { ...req.headers, ...fields },
    { server, remoteAddress, remotePort, encrypted },
    'refresh',
  )
}

/** Hand a GET request to a server. */
export function dispatchRequest(
  server: Server,
  url: string,
  headers: Record<string, string | string[] | undefined>,
  connection: object,
  purpose: Purpose,
): Promise<void> {
  const socket = Object.assign(new NullConnection(), connection) as unknown as Socket
  const req = new IncomingMessage(socket)
  Object.assign(req, {
    method: 'GET',
    url,
    httpVersion: '1.1',
    httpVersionMajor: 1,
    httpVersionMinor: 1,
    complete: true,
  })
  Object.defineProperty(req, made, { value: purpose })
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) continue
    req.headers[name] = value
    for (const each of [value].flat()) req.rawHeaders.push(name, each)
  }
  req.push(null)
  const res = new ServerResponse(req)
  res.assignSocket(socket)
  // What node's own server does. Otherwise a stream that is piped to the response stops for ever.
  socket.on('drain', () => res.emit('drain'))
  return new Promise((resolve) => {
    const timer = setTimeout(() => socket.destroy(), PATIENCE).unref()
    res.once('close', () => {
      clearTimeout(timer)
      resolve()
    })
    // What node's own server does when an answer has been sent.
    res.once('finish', () => {
      res.detachSocket(socket)
      socket.destroy()
      Object.assign(res, { destroyed: true, _closed: true })
      process.nextTick(() => res.emit('close'))
    })
    server.emit('request', req, res)
  })
}
