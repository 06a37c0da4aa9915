/** What the routers of this extension share: paths, replies, failures. */
import { isUnavailable } from '../../errors.ts'
import type { Exchange, ExtensionContext } from '../../extension.ts'
import type { Plan } from '../../http/exchange.ts'
import { problemReply } from '../../http/problem.ts'
import { unavailableRefusal } from '../../http/refusal.ts'
import type { Validator } from '../../validate.ts'

/** Accepts the public path of a router. */
export const pathOption: Validator = {
  expected: "a path that begins with '/' and does not end with it, like '/inbox'",
  accepts: (value) => typeof value === 'string' && /^(?:\/[^/?#\s]+)+$/.test(value),
}

const pathOf = (url: string): string => url.split('?', 1)[0]!

/**
 * Returns the segments of a request's path below its router, decoded. Undefined: the request is not
 * for the router.
 * @param own the public path of the router, where no framework removes it
 */
export function segmentsBelow(x: Exchange, own: string): string[] | undefined {
  let path = pathOf(x.routedUrl)
  // Below a mount path the framework has removed it.
  if (path === pathOf(x.url)) {
    if (path !== own && !path.startsWith(`${own}/`)) return undefined
    path = path.slice(own.length)
  }
  const segments = path.replace(/^\//, '').replace(/\/$/, '').split('/')
  try {
    return segments.map(decodeURIComponent)
  } catch {
    return undefined
  }
}

/** Returns a reply in JSON. No cache stores it. */
export const jsonPlan = (body: unknown): Plan => ({
  reply: {
    status: 200,
    headers: {
      'Content-Type': 'application/json; charset=utf-8',
      'Cache-Control': 'no-store',
    },
    body: JSON.stringify(body),
  },
})

/** Returns the reply to a method that a resource does not have. */
export function wrongMethod(x: Exchange, methods: readonly string[]): Plan {
  const reply = problemReply({ title: 'Method Not Allowed', status: 405 }, x)
  return { reply: { ...reply, headers: { ...reply.headers, Allow: methods.join(', ') } } }
}

/** Returns the plan for a request that fails because Redis is away. @throws every other error */
export function unavailablePlan(
  error: unknown,
  { events }: ExtensionContext,
  feature: string,
  detail: string,
): Plan {
  if (!isUnavailable(error)) throw error
  const { reason, uncertain } = error
  events.emit('unavailable', { feature, name: 'router', reason, uncertain, rule: 'closed' })
  return { refusal: unavailableRefusal(detail) }
}
