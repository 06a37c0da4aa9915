/** Invalidation after a request has changed something. */
import type { Exchange, PassPlan } from '../../http/exchange.ts'
import type { CacheEngine } from './engine.ts'
import { tagField } from '../../caching/names.ts'
import { purgeTag, urlTags } from './keys.ts'
import type { InvalidateOptions } from './options.ts'

/**
 * Invalidates the target of a request that succeeded, what its Location and Content-Location name on
 * this host (RFC 9111, 4.4), and what the options say: before the client can see the end.
 */
export function invalidateAfter<Native>(
  engine: CacheEngine,
  options: InvalidateOptions<Native>,
  x: Exchange<Native>,
): PassPlan {
  const { tags = [], purge = [], soft = false, when = succeeded, fail = 'closed' } = options

  async function seal(status: number, field: (name: string) => string | undefined): Promise<void> {
    if (!when(x.native, status)) return
    const tenant = await engine.context.tenantOf(x.native)
    const paths = typeof purge === 'function' ? await purge(x.native) : purge
    const named = (typeof tags === 'function' ? await tags(x.native) : tags).map(tagField)
    const own = [x.url, ...targetsOf(x, field)].map((url) => urlTags(url).all)
    try {
      await engine
        .ledger(tenant)
        .invalidate(
          [...new Set([...named, ...paths.map(purgeTag), ...own])],
          soft ? 'soft' : 'hard',
        )
    } catch (error) {
      if (fail === 'closed') throw error
      engine.context.events.emit('error', { feature: 'cache', name: 'invalidate', error })
    }
  }

  return { beforeEnd: seal }
}

const succeeded = (_native: unknown, status: number): boolean => status >= 200 && status < 400

/** What a response names on the same host as the request. */
function targetsOf(x: Exchange, field: (name: string) => string | undefined): string[] {
  const origin = `http://${x.host ?? 'localhost'}`
  return ['location', 'content-location'].flatMap((name) => {
    const value = field(name)
    if (value === undefined || !URL.canParse(value, origin + x.url)) return []
    const { host, pathname, search } = new URL(value, origin + x.url)
    return host === new URL(origin).host ? [pathname + search] : []
  })
}
