/** Answers some requests before the framework gets them. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { isBackgroundRequest } from './background-request.ts'
import { breakOff } from './disguise.ts'
import { sendReply } from './send-reply.ts'
import type { Plan, RequestHead } from './exchange.ts'
import { hasOneHost, isRegularTarget } from './request-target.ts'
import { isOver } from './request-end.ts'

/** What `http.createServer()` takes. */
export type NodeListener = (req: IncomingMessage, res: ServerResponse) => void

const arrived = Symbol.for('turnpike.listener-key@1')
type Arrived = IncomingMessage & { [arrived]?: string }

/** The request as the listener received it. Undefined if it did not pass the listener. */
export const listenerKeyOf = (req: IncomingMessage): string | undefined => (req as Arrived)[arrived]

const LONGEST = 1_024

/**
 * Everything by which a framework may tell a request's target, host and scheme; undefined for a
 * request that the listener does not serve.
 */
function wireOf(req: IncomingMessage): string | undefined {
  const { method, url = '', headers, socket } = req
  if (method !== 'GET' && method !== 'HEAD') return undefined
  const { host } = headers
  const isPlain = url.length <= LONGEST && isRegularTarget(url) && req.httpVersionMajor === 1
  if (!isPlain || host === undefined || !hasOneHost(req) || isBackgroundRequest(req))
    return undefined
  // Credentials are the application's, and so is a body.
  if (headers.authorization !== undefined || headers.expect !== undefined) return undefined
  if (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined)
    return undefined
  const scheme = (socket as { encrypted?: boolean }).encrypted === true ? 'https' : 'http'
  const forwarded = headers['x-forwarded-host']
  const proto = headers['x-forwarded-proto']
  const direct = `${scheme}://${host}${url}`
  if (forwarded === undefined && proto === undefined) return direct
  // Whether these are believed depends on who says so.
  return JSON.stringify([direct, forwarded, proto, socket.remoteAddress])
}

/** @param find returns the response to a request that arrived like this, or undefined */
export function createCacheListener(
  app: NodeListener,
  find: (wire: string, asked: RequestHead) => Plan | Promise<Plan> | undefined,
): NodeListener {
  function send(req: IncomingMessage, res: ServerResponse, { reply }: Plan): void {
    if (reply === undefined) app(req, res)
    else sendReply(req, res, reply, () => breakOff(res))
  }

  return function cacheListener(req, res) {
    const wire = wireOf(req)
    const plan =
      wire === undefined ? undefined : find(wire, { method: req.method!, headers: req.headers })
    if (plan === undefined) {
      if (wire !== undefined) (req as Arrived)[arrived] = wire
      app(req, res)
    } else if (plan instanceof Promise) {
      plan.then(
        (plan) => isOver(req, res) || send(req, res, plan),
        () => app(req, res),
      )
    } else send(req, res, plan)
  }
}
