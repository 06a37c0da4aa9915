/** Which requests the cache passes by. */
import type { Exchange } from '../../http/exchange.ts'
import type { CacheReason } from './reasons.ts'

/** Returns why a request is passed by because of its head. @param hasKey the application names the entry itself */
export function requestReason(x: Exchange, hasKey: boolean): CacheReason | undefined {
  // Other preconditions are the handler's to evaluate (RFC 9110, 13.2.1).
  if (x.header('if-match') !== undefined || x.header('if-unmodified-since') !== undefined)
    return 'precondition'
  if (hasKey) return undefined
  return x.host === undefined ? 'host' : undefined
}

/** Returns what makes a request personal. Undefined: it is anonymous. */
export function senderReason({ identity }: Exchange): CacheReason | undefined {
  if (identity.authorization !== undefined) return 'authorization'
  if (identity.apiKey !== undefined) return 'api-key'
  if (identity.user) return 'user'
  return identity.hasSessionData ? 'session' : undefined
}
