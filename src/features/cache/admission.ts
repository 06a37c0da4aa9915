/** Which requests the cache keeps out of. */
import type { Exchange } from '../../http/exchange.ts'
import { isPersonal } from './personal.ts'

/** What a header says against it; undefined if none does. @param key the application's own, if it makes any */
export function obstacle(x: Exchange, key?: unknown): 'precondition' | 'host' | undefined {
  // Preconditions of other kinds are the handler's (RFC 9110, 13.2.1).
  if (x.header('if-match') !== undefined || x.header('if-unmodified-since') !== undefined)
    return 'precondition'
  return x.host === undefined && !key ? 'host' : undefined
}

/** Does the request come from somebody, and not from anybody? */
export const isSomebodys = (x: Exchange): boolean =>
  x.header('authorization') !== undefined || isPersonal(x.native)
