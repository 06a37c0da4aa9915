/** `tp.data`: plain values, stored like cached responses. */
import type { ExtensionContext } from '../../extension.ts'
import { DataNamespace } from './namespace.ts'
import type { DataCache } from './options.ts'

/** The default time to live, in ms. RESPONSE_CACHE_TTL is in seconds. */
function ttlFromEnvironment(): number {
  const seconds = Number(process.env['RESPONSE_CACHE_TTL'])
  return seconds > 0 && seconds < Infinity ? seconds * 1000 : 3_600_000
}

/** Creates the data cache of an instance. Its store is opened when it is first used. */
export function createData(context: ExtensionContext): { api: { data: DataCache } } {
  return { api: { data: new DataNamespace(context, '', {}, ttlFromEnvironment) } }
}
