/** Which tenant a request belongs to, and hosts as tenants. */
import type { IncomingMessage } from 'node:http'
import { domainToASCII } from 'node:url'
import { TurnpikeError } from '../errors.ts'
import type { Exchange } from './exchange.ts'
import { isPromise } from './promises.ts'
import { maskHeaders } from './request-mask.ts'
import { nodeRequestOf } from './request-body.ts'

/** How the tenant of a request is found: by its host, or by a function of the application. */
export type TenantSource<Native> = 'host' | ((native: Native) => string | Promise<string>)

const IS_ASCII = /^[\0-\x7f]*$/
/** Fields in which clients and proxies name a host. */
const HOST_FIELDS = ['host', 'x-forwarded-host', ':authority']

/**
 * Returns the tenant of a request.
 * @throws TP_KEY if there is none: requests without a tenant belong to different clients, which must
 *   not share data
 */
export async function tenantOf<Native>(
  x: Exchange<Native>,
  tenant: TenantSource<Native>,
): Promise<string> {
  if (tenant === 'host') {
    const { host } = x
    if (host !== undefined) return hostTenant(host)
    throw new TurnpikeError('TP_KEY', 'The request has no valid Host.', { status: 400 })
  }
  const id: unknown = await withCanonicalHost(nodeRequestOf(x.native), () => tenant(x.native))
  if (typeof id === 'string' && id !== '') return id
  throw new TurnpikeError(
    'TP_KEY',
    'turnpike(): `tenant` returned no string for this request. Refuse requests without a tenant before they reach turnpike.',
  )
}

/** Returns the tenant that a host names. A host in Unicode is the one that browsers send for it (RFC 5891). */
export function hostTenant(host: string): string {
  const canonical = canonicalHost(host)
  return IS_ASCII.test(canonical) ? canonical : domainToASCII(canonical) || canonical
}

/** Returns a host in one spelling: in lower case, without a port and a final dot. */
function canonicalHost(host: string): string {
  const [, name = host] = /^(\[[^\]]*\]|[^:]*)(?::\d*)?$/.exec(host) ?? []
  return name.toLowerCase().replace(/\.$/, '')
}

/**
 * Calls `call` while the request shows its host in canonical form. A tenant that is the host, or is
 * looked up by it, would otherwise be another one for each spelling that a client chooses. Ids that
 * come from elsewhere stay as they are.
 */
function withCanonicalHost<Result>(req: IncomingMessage, call: () => Result): Result {
  const changes: Record<string, string> = {}
  let isChanged = false
  for (const field of HOST_FIELDS) {
    const value = req.headers[field]
    if (typeof value !== 'string') continue
    const canonical = value.includes(',')
      ? value
          .split(',')
          .map((each) => canonicalHost(each.trim()))
          .join(', ')
      : canonicalHost(value)
    if (canonical === value) continue
    changes[field] = canonical
    isChanged = true
  }
  if (!isChanged) return call()
  const restore = maskHeaders(req, changes)
  let result: Result
  try {
    result = call()
  } catch (error) {
    restore()
    throw error
  }
  if (!isPromise(result)) {
    restore()
    return result
  }
  return Promise.resolve(result).finally(restore) as Result
}
