/** Control of the response cache outside a request: invalidation, patterns, warming, counts. */
import { unlinkKeys } from '../../caching/entry-operations.ts'
import { EVERYTHING_FIELD, type InvalidationMode } from '../../caching/invalidation-operations.ts'
import { isMeant, readablePart, readablePattern, tagPattern } from '../../caching/key-patterns.ts'
import { tagFields, type Tag } from '../../caching/tags.ts'
import { WARM_OPTIONS, warmEach, type WarmOptions } from '../../caching/warming.ts'
import { dispatchRequest } from '../../http/background-request.ts'
import { matchesGlob } from '../../store/glob.ts'
import type { Subject } from '../../store/keys.ts'
import { requireTenant } from '../../store/subject.ts'
import {
  boolean,
  isFunction,
  isObject,
  optionError,
  validateOptions,
  type Validator,
} from '../../validate.ts'
import type { CacheEngine, CacheStats } from './engine.ts'
import { keyParts, keyTag } from './resource.ts'
import { canonicalPattern, purgeTags } from './urls.ts'

/** Which tenant's entries are meant. Required if the application has tenants. */
export interface CacheTenantOption {
  /** Tenant whose entries are meant. Required if the application has tenants. */
  tenant?: string
}

/**
 * Control of the cache outside a request. If Redis is unavailable, each method rejects with
 * TP_UNAVAILABLE. This process does not serve what was to be invalidated all the same.
 */
export interface CacheControl {
  /**
   * Invalidates every entry that has one of the tags. The cost does not depend on the number of
   * entries. Call it after the change is committed.
   * @param what.soft makes the entries stale, so that `staleWhileRevalidate` may still serve them.
   * @default false
   * @throws TP_VALUE for what is no tag, TP_KEY if the application has tenants and none is named
   * @example
   * await tp.cache.invalidate({ tags: ['product:1'] })
   */
  invalidate(what: { tags: readonly Tag[]; soft?: boolean } & CacheTenantOption): Promise<void>
  /**
   * Invalidates a URL or path for all hosts, scopes and variants, or the application's own key.
   * Without a query, every query is invalidated. Spellings of a path that routers take for the same
   * (case, percent-encoding, a slash at the end) are invalidated together.
   * @throws TP_OPTION for what is no path and no URL with http or https
   * @example
   * await tp.cache.purge('/products/1')
   * await tp.cache.purge({ key: ['product', '1'] })
   */
  purge(what: string | { key: Subject | number }, options?: CacheTenantOption): Promise<void>
  /**
   * Invalidates every path or own key that a pattern matches, and frees the memory. `*` matches any
   * characters, `?` matches one.
   * @param options.dryRun only counts
   * @returns the number of entries
   * @example
   * await tp.cache.invalidatePattern('/products/*', { dryRun: true })
   */
  invalidatePattern(
    glob: string,
    options?: { dryRun?: boolean } & CacheTenantOption,
  ): Promise<number>
  /** Invalidates everything. */
  clear(options?: CacheTenantOption): Promise<void>
  /**
   * Requests URLs from the application, so that they are cached. What is fresh stays, and what another
   * process is filling is waited for. No limit counts these requests.
   * @param urls with scheme and host, as clients send them. A path is requested from `localhost`
   * @param options.server the application's http.Server
   * @param options.concurrency number of requests at once, from 1 to 100. @default 4
   * @returns the number of URLs that were requested: fewer than all if the instance was closed meanwhile
   * @throws TP_OPTION for what is no URL; then none is requested
   * @example
   * await tp.cache.warm(['https://shop.example/', 'https://shop.example/products'], { server })
   */
  warm(urls: readonly string[], options: CacheWarmOptions): Promise<number>
  /** Returns the counts of this process. */
  stats(): CacheStats
}

/** Options of `tp.cache.warm()`. */
export interface CacheWarmOptions extends WarmOptions {
  /** The application's http.Server. */
  server: Parameters<typeof dispatchRequest>[0]
}

const tenantName: Validator = {
  expected: 'a string',
  accepts: (value) => typeof value === 'string',
}

/** Creates the control of a cache. @param open returns the engine, opened at first use */
export function createControl(open: () => CacheEngine): CacheControl {
  async function invalidate(
    method: string,
    names: readonly string[],
    mode: InvalidationMode,
    given: string | undefined,
  ): Promise<void> {
    const tenant = requireTenant(open().context, given, `tp.cache.${method}()`)
    await open().invalidationLog(tenant).invalidate(names, mode)
  }

  return {
    async invalidate(what) {
      const where = 'tp.cache.invalidate()'
      const tags: Validator = { expected: 'a list of tags', accepts: Array.isArray }
      validateOptions(where, what, { tags, soft: boolean, tenant: tenantName })
      if (!what.tags) throw optionError(where, 'tags', undefined, tags.expected)
      const mode = what.soft ? 'soft' : 'hard'
      await invalidate('invalidate', tagFields(what.tags, where), mode, what.tenant)
    },
    async purge(what, { tenant } = {}) {
      if (typeof what !== 'string' && !(isObject(what) && 'key' in what)) {
        const expected = "a URL or path like '/products/1', or { key }"
        throw optionError('tp.cache.purge()', 'what', what, expected)
      }
      const tags =
        typeof what === 'string'
          ? purgeTags('tp.cache.purge()', 'what', what, open().queryRules)
          : [keyTag(keyParts(what.key, 'tp.cache.purge()'))]
      await invalidate('purge', tags, 'hard', tenant)
    },
    async invalidatePattern(glob, { dryRun = false, tenant } = {}) {
      const where = 'tp.cache.invalidatePattern()'
      if (typeof glob !== 'string' || glob.includes('\n'))
        throw optionError(where, 'glob', glob, "a pattern like '/products/*'")
      requireTenant(open().context, tenant, where)
      const pattern = canonicalPattern(glob)
      if (!dryRun) await invalidate('invalidatePattern', [pattern], 'glob', tenant)
      return await removeMatches(open(), pattern, tenant, dryRun)
    },
    clear: async ({ tenant } = {}) => await invalidate('clear', [EVERYTHING_FIELD], 'hard', tenant),
    async warm(urls, options) {
      const where = 'tp.cache.warm()'
      validateOptions(where, options, { ...WARM_OPTIONS, server: httpServer })
      const { server } = options
      if (!server) throw optionError(where, 'server', server, httpServer.expected)
      const requests = requestsFor(where, urls)
      return await warmEach(requests, options, open().context.closing, async (each) => {
        await dispatchRequest(server, each.target, { host: each.host }, each.connection, 'warm')
        return true
      })
    },
    stats: () => open().stats(),
  }
}

/** Removes the entries that a pattern matches, and returns their number. */
async function removeMatches(
  { cacheStore, context }: CacheEngine,
  glob: string,
  tenant: string | undefined,
  dryRun: boolean,
): Promise<number> {
  const { store } = cacheStore
  const pattern = context.keys.key(
    'cache',
    tagPattern(context.keys, tenant),
    `${readablePattern(glob)}*`,
  )
  let count = 0
  for await (const keys of store.scan(pattern)) {
    const found = keys.filter((key) => isMeant(key, tenant) && matchesGlob(glob, nameIn(key)))
    if (!dryRun) await Promise.all(found.map((key) => store.run(unlinkKeys, [key], [])))
    count += found.filter((key) => !/:(?:lease|ages)$/.test(key)).length
  }
  return count
}

/** Returns the path or own key at the end of an entry's key. */
function nameIn(key: string): string {
  const [readable = ''] = readablePart(key).split(':')
  try {
    return decodeURIComponent(readable)
  } catch {
    return readable
  }
}

const httpServer: Validator = {
  expected: "the application's http.Server",
  accepts: (value) => isObject(value) && isFunction(value['emit']),
}

/** Returns what to request. @throws TP_OPTION for what is no URL */
function requestsFor(
  where: string,
  urls: readonly string[],
): { target: string; host: string; connection: object }[] {
  const expected = "a list of URLs like 'https://shop.example/products'"
  if (!Array.isArray(urls)) throw optionError(where, 'urls', urls, expected)
  return Array.from(urls as readonly unknown[], (url) => {
    // URL.canParse takes what is no string for its string form.
    if (typeof url !== 'string' || !URL.canParse(url, 'http://localhost'))
      throw optionError(where, 'urls', url, expected)
    const { host, pathname, protocol, search } = new URL(url, 'http://localhost')
    if (protocol !== 'http:' && protocol !== 'https:')
      throw optionError(where, 'urls', url, expected)
    const encrypted = protocol === 'https:'
    return { target: pathname + search, host, connection: { encrypted } }
  })
}
