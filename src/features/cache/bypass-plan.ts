/** Passing a request by. */
import type { PassPlan } from '../../http/exchange.ts'
import { directivesOf } from './directives.ts'
import type { CacheMount } from './mount.ts'
import { forwardStatus, type CacheReason } from './reasons.ts'

/**
 * Returns the plan that passes a request by, and counts it.
 * @param resource the resource's key, for a personal request: if the response says that it is public,
 * the next one is looked up
 */
export function bypassPlan<Native>(
  { engine, name }: CacheMount<Native>,
  reason: CacheReason,
  resource?: string,
): PassPlan {
  engine.count(name, 'bypass', undefined, reason)
  const headers = { 'Cache-Status': forwardStatus('bypass', reason) }
  if (resource === undefined) return { headers: () => headers }
  return {
    headers: (field) => {
      if (directivesOf(field('cache-control')).has('public'))
        engine.publicResources.set(resource, true)
      return headers
    },
  }
}
