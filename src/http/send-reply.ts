import { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { SHORT } from './capture.ts'
import type { Reply } from './exchange.ts'
import { isBodiless } from './headers.ts'
import { addFields, onEnd } from './response.ts'
import { withdraw } from './seal.ts'

/** Answer on node's own response. @param raise hears of a body that breaks before anything was sent */
export function sendReply(
  res: ServerResponse,
  reply: Reply,
  raise: (error: unknown) => void,
): void {
  const { status, headers = {}, body = '', text, lines } = reply
  const isEmpty = isBodiless(res.req.method, status)
  if (lines !== undefined && text !== undefined && !isEmpty && isUntouched(res)) {
    res.writeHead(status, lines)
    res.end(text, 'latin1')
    return
  }
  res.statusCode = status
  addFields(res, headers)
  if (!(body instanceof Readable)) {
    const isLengthKnown = reply.body !== undefined || !isEmpty
    if (isLengthKnown && status !== 204 && status !== 304 && !res.hasHeader('content-length')) {
      res.setHeader('Content-Length', Buffer.byteLength(body))
    }
    if (isEmpty) res.end()
    // Whoever has put an `end` of his own there may not know of encodings.
    else if (res.end !== ServerResponse.prototype.end) res.end(body)
    else if (text !== undefined) res.end(text, 'latin1')
    else if (Buffer.isBuffer(body) && body.length <= SHORT)
      res.end(body.toString('latin1'), 'latin1')
    else res.end(body)
    return
  }
  body.once('error', (error) => {
    // Nobody may take what was sent so far for the whole.
    if (res.headersSent) {
      res.destroy()
    } else {
      withdraw(res)
      raise(error)
    }
  })
  onEnd(res, () => body.destroy())
  if (isEmpty) res.end()
  else body.pipe(res)
}

/** Has nobody set a field, or put a method of his own in the place of node's? */
function isUntouched(res: ServerResponse): boolean {
  const { writeHead, end } = ServerResponse.prototype
  return res.writeHead === writeHead && res.end === end && res.getHeaderNames().length === 0
}
