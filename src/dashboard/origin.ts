/** Tells requests of the dashboard's own pages from those that other sites cause. */
import type { Exchange } from '../http/exchange.ts'

/** Returns true if a page of another site may have caused a request for data (Fetch Metadata). */
export function isCrossSite(x: Exchange): boolean {
  const site = x.header('sec-fetch-site')
  return site !== undefined && site !== 'same-origin' && site !== 'none'
}

/**
 * Returns true if a page of the dashboard has sent this change. Browsers name the site, or at least
 * the origin: over plain HTTP they do not send Sec-Fetch-Site. No form can send JSON.
 */
export function isOwnChange(x: Exchange): boolean {
  const type = x.header('content-type') ?? ''
  if (!/^application\/json *(;|$)/i.test(type)) return false
  const site = x.header('sec-fetch-site')
  if (site !== undefined) return site === 'same-origin'
  const origin = x.header('origin')
  if (origin === undefined || !URL.canParse(origin)) return false
  const { host, protocol } = new URL(origin)
  const own = [x.host, x.header('host')?.toLowerCase()]
  return /^https?:$/.test(protocol) && own.includes(host)
}
