/** The response cache: `tp.cache()`, `tp.invalidate()`. */
import {
  boolean,
  callback,
  validateOptions,
  anyOf,
  isFunction,
  optionError,
  oneOf,
  type Validator,
} from '../../validate.ts'
import { TurnpikeError } from '../../errors.ts'
import { cacheStoreOf } from '../../caching/cache-store.ts'
import { unlinkKeys } from '../../caching/entry-operations.ts'
import { matchesGlob } from '../../store/glob.ts'
import { EVERYTHING_FIELD } from '../../caching/invalidation-operations.ts'
import { dispatchRequest } from '../../http/background-request.ts'
import { passThrough, type Feature, type Plan } from '../../http/exchange.ts'
import { keyPart, type Subject } from '../../store/keys.ts'
import type { ExtensionContext } from '../../extension.ts'
import { CacheEngine, type CacheStats } from './engine.ts'
import { cacheFeature } from './feature.ts'
import { invalidateAfter } from './invalidate.ts'
import { tagField } from '../../caching/names.ts'
import { keyTag, purgeTag } from './keys.ts'
import { mountOf } from './mount.ts'
import type { CacheOptions, InvalidateOptions } from './options.ts'
import type { Asked } from './reply.ts'

/** Whose entries are meant, where the application has tenants. */
interface Whose {
  tenant?: string
}

/** What can be done with the cache outside a request. Each method rejects with TP_UNAVAILABLE when Redis cannot be told; nothing that was to be invalidated is served by this process all the same. */
export interface CacheControl {
  /**
   * Invalidate everything with one of the tags, however many entries that are. Do it after the change is committed.
   * @param options `soft`: expire, so that `staleWhileRevalidate` may go on serving it. Default false
   */
  invalidate(what: { tags: readonly string[]; soft?: boolean } & Whose): Promise<void>
  /** Invalidate a URL or path, for all hosts, scopes and variants: without a query, with every query. Or the application's own key. */
  purge(what: string | { key: Subject }, options?: Whose): Promise<void>
  /**
   * Invalidate every path that the pattern matches (`*`: any run of characters, `?`: one), and free its memory.
   * Gives how many entries there were. @param options `dryRun`: only count
   */
  invalidatePattern(glob: string, options?: { dryRun?: boolean } & Whose): Promise<number>
  /** Invalidate everything. */
  clear(options?: Whose): Promise<void>
  /**
   * Ask the application for these URLs, so that they are cached. Gives how many could be asked for.
   * @param options `server`: the application's http.Server; `concurrency`: how many at once, default 4
   */
  warm(
    urls: readonly string[],
    options: { server: Parameters<typeof dispatchRequest>[0]; concurrency?: number },
  ): Promise<number>
  /** What the cache did in this process. */
  stats(): CacheStats
}

/** `tp.cache`: makes middlewares, and is the control of what they keep. */
export interface ResponseCache<Native, Middleware> extends CacheControl {
  /**
   * Caches what is answered further inside. Safe by default: see docs/cache.md.
   * @throws TP_OPTION for an option that cannot be used
   */
  (options: CacheOptions<Native>): Middleware
}

/** What an instance offers. */
export interface Caching<Native, Middleware> {
  /** Caches responses: `tp.cache(options)` makes a middleware, `tp.cache.invalidate()` and others control what is kept. */
  readonly cache: ResponseCache<Native, Middleware>
  /**
   * Invalidates after a request that succeeded, before the client sees the end of the response: its own
   * URL, and what the options name. If that cannot be written, the request fails with 503.
   * @throws TP_OPTION for an option that cannot be used
   */
  invalidate(options?: InvalidateOptions<Native>): Middleware
}

const texts: Validator = {
  expected: 'a list of texts',
  accepts: (value) =>
    Array.isArray(value) && value.every((each) => typeof each === 'string' && each !== ''),
}
const INVALIDATE: Record<string, Validator> = {
  tags: anyOf(texts, callback),
  purge: anyOf(texts, callback),
  soft: boolean,
  when: callback,
  fail: oneOf('closed', 'open'),
}

/** Creates the response cache of an instance. Its store is opened when something is cached first. */
export function createCaching<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
): {
  api: Caching<Native, Middleware>
  hitRate(): number | undefined
  /** What `tp.edge()` asks. */
  answerEarly(wire: string, asked: Asked): Plan | Promise<Plan> | undefined
} {
  let made: CacheEngine | undefined
  const engine = (): CacheEngine => {
    if (made) return made
    return (made = new CacheEngine(context, cacheStoreOf(context)))
  }
  const cache = (options: CacheOptions<Native>): Middleware =>
    context.mount(cacheFeature(mountOf(engine, options)))
  const api: Caching<Native, Middleware> = {
    cache: Object.assign(cache, controlOf(engine)),
    invalidate(options = {}) {
      validateOptions('tp.invalidate()', options, INVALIDATE)
      const handle: Feature<Native>['handle'] = (x) =>
        x.isBackground ? passThrough : invalidateAfter(engine(), options, x)
      return context.mount({ name: 'invalidate', handle })
    },
  }
  return {
    api,
    hitRate: () => made?.stats().hitRate,
    answerEarly: (wire, asked) => made?.edge.answer(wire, asked),
  }
}

function controlOf(engine: () => CacheEngine): CacheControl {
  /** Whose entries: nobody's are not everybody's. */
  function tenanted(tenant: string | undefined): void {
    if (tenant === undefined && engine().context.hasTenants) {
      throw new TurnpikeError(
        'TP_KEY',
        'tp.cache: the application has tenants: say whose entries are meant ({ tenant }).',
      )
    }
  }

  async function invalidateAll(
    names: readonly string[],
    mode: 'hard' | 'soft' | 'glob',
    tenant: string | undefined,
  ): Promise<void> {
    tenanted(tenant)
    await engine().ledger(tenant).invalidate(names, mode)
  }

  return {
    async invalidate(what) {
      validateOptions('tp.cache.invalidate()', what, {
        tags: texts,
        soft: boolean,
        tenant: anyText,
      })
      if (!what.tags) throw optionError('tp.cache.invalidate()', 'tags', undefined, texts.expected)
      await invalidateAll(what.tags.map(tagField), what.soft ? 'soft' : 'hard', what.tenant)
    },
    async purge(what, { tenant } = {}) {
      await invalidateAll(
        [typeof what === 'string' ? purgeTag(what) : keyTag(what.key)],
        'hard',
        tenant,
      )
    },
    async invalidatePattern(glob, { dryRun = false, tenant } = {}) {
      if (typeof glob !== 'string' || glob.includes('\n'))
        throw optionError(
          'tp.cache.invalidatePattern()',
          'glob',
          glob,
          "a pattern like '/products/*'",
        )
      if (!dryRun) await invalidateAll([glob], 'glob', tenant)
      tenanted(tenant)
      const { shelf, context } = engine()
      const readable = glob
        .split(/([*?]+)/)
        .map((piece, i) => (i % 2 === 1 || piece === '' ? piece : keyPart(piece, Infinity)))
        .join('')
      const pattern = context.keys.key(
        'cache',
        tenant === undefined ? '*' : `${keyPart(tenant, 32)}=*`,
        `${readable.replaceAll('?', '*')}*`,
      )
      let count = 0
      for await (const keys of shelf.store.scan(pattern)) {
        const found = keys.filter((key) => isOf(tenant, key) && matchesGlob(glob, pathIn(key)))
        if (!dryRun) await Promise.all(found.map((key) => shelf.store.run(unlinkKeys, [key], [])))
        count += found.filter((key) => !/:(?:lease|ages)$/.test(key)).length
      }
      return count
    },
    clear: async ({ tenant } = {}) => await invalidateAll([EVERYTHING_FIELD], 'hard', tenant),
    async warm(urls, { server, concurrency = 4 }) {
      if (!server || !isFunction(server.emit))
        throw optionError('tp.cache.warm()', 'server', server, "the application's http.Server")
      const queue = [...urls]
      const work = async (): Promise<void> => {
        for (let url = queue.shift(); url !== undefined; url = queue.shift()) {
          const { host, pathname, search } = new URL(url, 'http://localhost')
          await dispatchRequest(server, pathname + search, { host })
        }
      }
      await Promise.all(Array.from({ length: concurrency }, work))
      return urls.length
    },
    stats: () => engine().stats(),
  }
}

const anyText: Validator = { expected: 'a text', accepts: (value) => typeof value === 'string' }

/** Without a tenant only the entries of nobody's are meant. */
const isOf = (tenant: string | undefined, key: string): boolean =>
  tenant !== undefined || !key.slice(key.indexOf('{'), key.indexOf('}')).includes('=')

/** The path at the end of an entry's key, as it was written. */
function pathIn(key: string): string {
  const [readable = ''] = key.slice(key.indexOf('}:') + 2).split(':')
  try {
    return decodeURIComponent(readable)
  } catch {
    return readable
  }
}
