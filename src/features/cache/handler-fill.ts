/** Letting the handler fill an entry. */
import { lastUseOf } from '../../caching/entry.ts'
import type { LookupResult } from '../../caching/entry-keys.ts'
import type { Fill } from '../../caching/fill.ts'
import type { LogPosition } from '../../caching/invalidation-log.ts'
import type { PassPlan } from '../../http/exchange.ts'
import type { CacheLookup } from './cache-lookup.ts'
import { decode } from './content-coding.ts'
import { forwardStatus } from './reasons.ts'
import { ResponseFill, type Forward } from './response-fill.ts'
import { responseIn } from './cached-response.ts'
import { maySend } from './policy.ts'
import { isReadable } from './reply.ts'

/** Returns a plan that only sets Cache-Status. */
export const withStatus = (status: string): PassPlan => ({
  headers: () => ({ 'Cache-Status': status }),
})

/** Returns the plan that lets the handler run, and stores its response. */
export async function fillByHandler<Native>(
  lookup: CacheLookup<Native>,
  found: LookupResult | undefined,
  fill: Fill,
  forward: Forward,
): Promise<PassPlan> {
  const { engine, keys, mount, x } = lookup
  if (x.method === 'HEAD') {
    fill.abandon()
    engine.count(mount.name, 'miss', keys.entry, 'head', lookup.began)
    return withStatus(forwardStatus(forward, 'head'))
  }
  try {
    const position = found && (await positionOf(lookup, found))
    const former = await formerOf(lookup, found)
    return new ResponseFill(lookup, { fill, position, former, forward }).plan()
  } catch (error) {
    fill.abandon()
    throw error
  }
}

/** Returns the log's position before the handler runs. Undefined: the store is unavailable. */
async function positionOf<Native>(
  { resourceKeys, x, engine, mount }: CacheLookup<Native>,
  { snapshot }: LookupResult,
): Promise<LogPosition | undefined> {
  const { nonce, sequence } = snapshot
  if (nonce !== undefined) return { nonce, sequence }
  try {
    return await resourceKeys.log.open(0, x.budget)
  } catch (error) {
    engine.reportUnavailable(mount.name, error)
    return undefined
  }
}

/**
 * Returns the entry that was stored before, if this request may get it. Its body is decoded, because it
 * may have to be sent at once instead of an error.
 */
async function formerOf<Native>(
  { sender, x }: CacheLookup<Native>,
  found: LookupResult | undefined,
): Promise<LookupResult | undefined> {
  const entry = found?.entry
  if (!found || !entry || !found.validUntil || found.now >= lastUseOf(entry)) return undefined
  const response = responseIn(entry)
  if (!maySend(response.sharing, sender)) return undefined
  // The reply is made while the handler's response ends, when there is no time to decode a body.
  if (!isReadable(entry, x)) return undefined
  if (!response.isPacked) return found
  try {
    const body = await decode(entry.body, 'gzip', response.length)
    return { ...found, entry: { ...entry, body, extra: { ...response, isPacked: false } } }
  } catch {
    return undefined
  }
}
