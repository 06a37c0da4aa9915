/** Invalidation after a request has changed something. */
import { tagFields } from '../../caching/tags.ts'
import type { Exchange, PassPlan } from '../../http/exchange.ts'
import { optionError } from '../../validate.ts'
import type { CacheEngine } from './engine.ts'
import type { InvalidateOptions } from './options.ts'
import { pathTag, purgeTags, splitUrl } from './urls.ts'

const WHERE = 'tp.invalidate()'

const isSuccess = (_native: unknown, status: number): boolean => status >= 200 && status < 400

/**
 * Returns the plan that invalidates after a request that succeeded, before the client can see the end
 * of the response: the request's URL, what Location and Content-Location name on the same host (RFC
 * 9111, 4.4), and what the options name.
 */
export function invalidateAfter<Native>(
  engine: CacheEngine,
  options: InvalidateOptions<Native>,
  x: Exchange<Native>,
): PassPlan {
  const { tags = [], purge = [], soft = false, when = isSuccess, fail = 'closed' } = options

  async function invalidate(
    status: number,
    field: (name: string) => string | undefined,
  ): Promise<void> {
    if (!when(x.native, status)) return
    const { context } = engine
    const tenant = context.hasTenants ? await context.tenantOf(x.native) : undefined
    const purged = typeof purge === 'function' ? await purge(x.native) : purge
    if (!Array.isArray(purged))
      throw optionError(
        WHERE,
        'purge',
        purged,
        'a list of URLs or paths, or a function that returns one',
      )
    const named = typeof tags === 'function' ? await tags(x.native) : tags
    const fields = [
      ...tagFields(named, WHERE),
      ...Array.from(purged, (url) => purgeTags(WHERE, 'purge', url, engine.queryRules)).flat(),
      pathTag(splitUrl(x.url)[0], 'latin1'),
      ...sameHostPaths(x, field).map((path) => pathTag(path, 'utf8')),
    ]
    try {
      const log = engine.invalidationLog(tenant)
      await log.invalidate([...new Set(fields)], soft ? 'soft' : 'hard')
    } catch (error) {
      if (fail === 'closed') throw error
      context.events.emit('error', { feature: 'cache', name: 'invalidate', error })
    }
  }

  return { beforeEnd: invalidate }
}

/** Returns the paths that a response names on the request's host. */
function sameHostPaths(x: Exchange, field: (name: string) => string | undefined): string[] {
  const origin = `http://${x.host ?? 'localhost'}`
  return ['location', 'content-location'].flatMap((name) => {
    const value = field(name)
    if (value === undefined || !URL.canParse(value, origin + x.url)) return []
    const { host, pathname } = new URL(value, origin + x.url)
    return host === new URL(origin).host ? [pathname] : []
  })
}
