import { ServerResponse, type IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { SHORT } from './body-tap.ts'
import { breakOff, withdraw } from './disguise.ts'
import type { HeaderFields, Reply } from './exchange.ts'
import { addFields, isBodiless } from './headers.ts'
import { onFinish } from './request-end.ts'
import { stateOf } from './response.ts'

/**
 * Replies on node's own response.
 * @param raise called if a body of kind stream fails before anything was sent
 */
export function sendReply(
  req: IncomingMessage,
  res: ServerResponse,
  reply: Reply,
  raise: (error: unknown) => void,
): void {
  const { status, headers = {}, body = '', text, lines } = reply
  const isEmpty = isBodiless(req.method, status)
  if (lines !== undefined && text !== undefined && !isEmpty && isUntouched(res)) {
    res.writeHead(status, lines)
    res.end(text, 'latin1')
    return
  }
  res.statusCode = status
  for (const name of reply.remove ?? []) res.removeHeader(name)
  addFields(res, headers)
  if (body instanceof Readable) return sendStream(req, res, body, isEmpty, raise)
  const isLengthKnown = reply.body !== undefined || !isEmpty
  if (isLengthKnown && status !== 204 && status !== 304 && !res.hasHeader('content-length')) {
    res.setHeader('Content-Length', Buffer.byteLength(body))
  }
  if (isGarbledByEnd(headers)) res.writeHead(status)
  if (isEmpty) res.end()
  // Another package's `end` may not know encodings.
  else if (res.end !== ServerResponse.prototype.end) res.end(body)
  else if (text !== undefined) res.end(text, 'latin1')
  else if (Buffer.isBuffer(body) && body.length <= SHORT) res.end(body.toString('latin1'), 'latin1')
  else res.end(body)
}

function sendStream(
  req: IncomingMessage,
  res: ServerResponse,
  body: Readable,
  isEmpty: boolean,
  raise: (error: unknown) => void,
): void {
  body.once('error', (error) => {
    // No client may take what was sent so far for the whole.
    if (res.headersSent) return breakOff(res)
    withdraw(res)
    raise(error)
  })
  onFinish(stateOf(req, res), res, () => body.destroy())
  breakOffWith(res, body)
  if (isEmpty) res.end()
  else body.pipe(res)
}

/** Breaks a response off if its body is destroyed before its end: `pipe` would leave it open for ever. */
export function breakOffWith(res: ServerResponse, body: Readable): void {
  body.once('close', () => {
    if (!body.readableEnded && res.headersSent && !res.writableEnded) breakOff(res)
  })
}

/**
 * Returns whether node would garble the name of a file. It takes Latin-1 in Content-Disposition for
 * UTF-8 once it knows the length: from Content-Length in front of it, or from `end` if that writes the head.
 */
export function isGarbledByEnd(headers: HeaderFields): boolean {
  const disposition = headers['content-disposition']
  return disposition !== undefined && /[\x80-\xff]/.test(String(disposition))
}

/** Returns whether no field is set, and node's methods are in place. */
function isUntouched(res: ServerResponse): boolean {
  const { writeHead, end } = ServerResponse.prototype
  return res.writeHead === writeHead && res.end === end && res.getHeaderNames().length === 0
}
