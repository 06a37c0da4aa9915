/** Whether a browser sends a request for a page of another origin. */
import type { Exchange } from '../../http/exchange.ts'

/**
 * Returns true if a request comes, or may come, from a page of another origin (Fetch Metadata; RFC
 * 6454). A client that sends neither Sec-Fetch-Site nor Origin is no browser that sends cookies along
 * unasked.
 */
export function isFromOtherSite(x: Exchange): boolean {
  const site = x.header('sec-fetch-site')
  // Subdomains may belong to others, so same-site is not enough.
  if (site !== undefined) return site !== 'same-origin' && site !== 'none'
  const origin = x.header('origin')
  if (origin === undefined) return false
  if (x.host === undefined) return true
  try {
    const { host, protocol } = new URL(origin)
    // The default port of the scheme may be written or not.
    return new URL(`${protocol}//${x.host}`).host !== host || host === ''
  } catch {
    return true
  }
}
