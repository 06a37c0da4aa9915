/** `tp.data`: plain values over the machinery of the response cache. */
import {
  callback,
  validateOptions,
  isFunction,
  optionError,
  nonEmptyString,
  type Validator,
} from '../../validate.ts'
import { tagField } from '../../caching/names.ts'
import { cacheStoreOf, type CacheStore } from '../../caching/cache-store.ts'
import { incrementCounter, expireEntry, unlinkKeys } from '../../caching/entry-operations.ts'
import { durationOption, durationValidator, type Duration } from '../../duration.ts'
import { TurnpikeError } from '../../errors.ts'
import { matchesGlob } from '../../store/glob.ts'
import { keyPart } from '../../store/keys.ts'
import type { ExtensionContext } from '../../extension.ts'
import { hash } from './canonical.ts'
import { DataEngine } from './engine.ts'
import {
  FETCH,
  NEAR_BYTES,
  readableIn,
  SET,
  SPACE,
  texts,
  ttlFromEnvironment,
  WHOSE,
  WRAP,
} from './kinds.ts'
import type { Loading, Settings } from './settings.ts'
import { isFresh } from './worth.ts'
import type {
  DataCache,
  FetchOptions,
  NamespaceOptions,
  SetOptions,
  TenantOption,
  WrapOptions,
} from './options.ts'

/** Creates the data cache of an instance. Its store is opened when a value is used first. */
export function createData(context: ExtensionContext): { api: { data: DataCache } } {
  return { api: { data: space(context, '', {}, ttlFromEnvironment) } }
}

function space(
  context: ExtensionContext,
  name: string,
  options: NamespaceOptions,
  ttlOf: () => number,
): DataCache {
  const where = name === '' ? 'tp.data' : `tp.data.namespace('${name}')`
  let made:
    | { context: ExtensionContext; shelf: CacheStore; engine: DataEngine; settings: Settings }
    | undefined
  const opened = (): NonNullable<typeof made> => {
    if (made) return made
    const shelf = cacheStoreOf(context)
    const { compress = 1024, near = false, serializer } = options
    const settings: Settings = {
      space: name,
      ttl: options.ttl === undefined ? ttlOf() : durationOption(options.ttl, where, 'ttl'),
      packFrom: compress === false ? Infinity : compress,
      serializer,
      near: typeof near === 'object' ? near.maxBytes : near ? NEAR_BYTES : 0,
    }
    return (made = { context, shelf, settings, engine: new DataEngine(context, shelf, settings) })
  }

  /** Checks the call: a key is a text, and where there are tenants somebody's. */
  function begin(
    method: string,
    key: unknown,
    given: object,
    kinds: Record<string, Validator>,
  ): NonNullable<typeof made> {
    validateOptions(`${where}.${method}()`, given, kinds)
    if (typeof key !== 'string' || key === '')
      throw optionError(`${where}.${method}()`, 'key', key, nonEmptyString.expected)
    const all = opened()
    if (all.context.hasTenants && (given as TenantOption).tenant === undefined) {
      throw new TurnpikeError(
        'TP_KEY',
        `${where}.${method}(): the application has tenants: say whose value this is ({ tenant }).`,
      )
    }
    return all
  }

  const ttlIn = (method: string, ttl: Duration | undefined): number =>
    ttl === undefined ? opened().settings.ttl : durationOption(ttl, `${where}.${method}()`, 'ttl')

  function loadingOf<Value>(options: FetchOptions<Value>): Loading<Value> {
    const {
      ttl,
      tags = [],
      staleWhileRevalidate = 0,
      staleIfError = 0,
      wait = '2s',
      lease = '10s',
    } = options
    const ms = (value: Duration, option: string): number =>
      durationOption(value, `${where}.getOrFetch()`, option, 0)
    return {
      ttl: ttlIn('getOrFetch', ttl),
      staleFor: ms(staleWhileRevalidate, 'staleWhileRevalidate'),
      errorFor: ms(staleIfError, 'staleIfError'),
      wait: ms(wait, 'wait'),
      lease: durationOption(lease, `${where}.getOrFetch()`, 'lease'),
      tagsOf: (value) => (typeof tags === 'function' ? tags(value) : tags).map(tagField),
    }
  }

  async function set(key: string, value: unknown, given: SetOptions = {}): Promise<void> {
    const { engine } = begin('set', key, given, SET)
    await engine.set(
      key,
      value,
      {
        ttl: ttlIn('set', given.ttl),
        tags: (given.tags ?? []).map(tagField),
        staleFor: 0,
        errorFor: 0,
      },
      given.tenant,
    )
  }

  async function get<Value>(key: string, given: TenantOption = {}): Promise<Value | undefined> {
    const { engine } = begin('get', key, given, WHOSE)
    return (await engine.valueOf(await engine.find(key, given.tenant))) as Value | undefined
  }

  /** The keys in Redis that a pattern matches, with the keys that they are ours under. */
  async function* found(
    glob: string,
    tenant: string | undefined,
  ): AsyncGenerator<[stored: string, key: string]> {
    const { context, shelf } = opened()
    const whole = name === '' ? glob : `${name}:${glob}`
    const readable = whole
      .split(/([*?]+)/)
      .map((piece, i) => (i % 2 === 1 || piece === '' ? piece : keyPart(piece, Infinity)))
      .join('')
    const pattern = context.keys.key(
      'data',
      tenant === undefined ? '*' : `${keyPart(tenant, 32)}=*`,
      readable.replaceAll('?', '*'),
    )
    const seen = new Set<string>()
    for await (const batch of shelf.store.scan(pattern)) {
      for (const stored of batch) {
        const isTheirs =
          tenant === undefined &&
          stored.slice(stored.indexOf('{'), stored.indexOf('}')).includes('=')
        const key = readableIn(stored)
        if (isTheirs || seen.has(stored) || key === undefined || !matchesGlob(whole, key)) continue
        seen.add(stored)
        yield [stored, name === '' ? key : key.slice(name.length + 1)]
      }
    }
  }

  return {
    get,
    set,
    async delete(key, given = {}) {
      return await begin('delete', key, given, WHOSE).engine.delete(key, given.tenant)
    },
    async exists(key, given = {}) {
      const { engine } = begin('exists', key, given, WHOSE)
      const one = await engine.find(key, given.tenant)
      return isFresh(one) || one.other !== undefined
    },
    async increment(key, amount = 1, given = {}) {
      const { engine, shelf } = begin('increment', key, given, { ...WHOSE, ttl: durationValidator })
      if (!Number.isSafeInteger(amount))
        throw new TurnpikeError(
          'TP_VALUE',
          `${where}.increment(): the amount must be a whole number; it is ${amount}.`,
        )
      const { entry, lease } = engine.place(key, given.tenant)
      return await shelf.store.run(
        incrementCounter,
        [entry, lease],
        [amount, Math.ceil(ttlIn('increment', given.ttl))],
      )
    },
    async expire(key, ttl, given = {}) {
      const { engine, shelf } = begin('expire', key, given, WHOSE)
      const { entry, ledger } = engine.place(key, given.tenant)
      const ms = Math.ceil(ttlIn('expire', ttl))
      if (ledger.isDue(ms)) await ledger.open(ms)
      return (await shelf.store.run(expireEntry, [entry], [ms])) === 1
    },
    async getMany<Value>(keys: readonly string[], given: TenantOption = {}) {
      return await Promise.all(keys.map((key) => get<Value>(key, given)))
    },
    async setMany(values, given = {}) {
      await Promise.all(Object.entries(values).map(([key, value]) => set(key, value, given)))
    },
    async getOrFetch(key, load, given = {}) {
      const { engine } = begin('getOrFetch', key, given, FETCH)
      if (!isFunction(load))
        throw optionError(`${where}.getOrFetch()`, 'load', load, callback.expected)
      return await engine.fetch(key, load, loadingOf(given), given.tenant)
    },
    wrap<Args extends readonly unknown[], Value>(
      fn: (...args: Args) => Promise<Value> | Value,
      given: WrapOptions<Args, Value> = {},
    ) {
      validateOptions(`${where}.wrap()`, given, WRAP)
      const { name = fn.name, key, tags, tenant, ...rest } = given
      if (!key && !name)
        throw optionError(
          `${where}.wrap()`,
          'name',
          name,
          'given for a function without a name, or a key function',
        )
      return async (...args: Args) => {
        const own = key ? key(...args) : `${name}:${hash(args)}`
        const whose = typeof tenant === 'function' ? tenant(...args) : tenant
        const options: FetchOptions<Value> = {
          ...rest,
          ...(tags && {
            tags: typeof tags === 'function' ? (value: Value) => tags(value, ...args) : tags,
          }),
          ...(whose !== undefined && { tenant: whose }),
        }
        const { engine } = begin('wrap', own, options, FETCH)
        return await engine.fetch(own, () => fn(...args), loadingOf(options), whose)
      }
    },
    namespace(sub, own = {}) {
      if (!nonEmptyString.accepts(sub))
        throw optionError(`${where}.namespace()`, 'name', sub, nonEmptyString.expected)
      validateOptions(`${where}.namespace('${sub}')`, own, SPACE)
      return space(context, name === '' ? sub : `${name}:${sub}`, { ...options, ...own }, ttlOf)
    },
    async invalidate(given) {
      validateOptions(`${where}.invalidate()`, given, { ...WHOSE, tags: texts })
      const { shelf } = begin(
        'invalidate',
        'tags',
        { ...(given.tenant !== undefined && { tenant: given.tenant }) },
        WHOSE,
      )
      await shelf.invalidationLog(given.tenant).invalidate(given.tags.map(tagField), 'hard')
    },
    async invalidatePattern(glob, { dryRun = false, ...given } = {}) {
      const { engine, shelf } = begin('invalidatePattern', glob, given, WHOSE)
      if (glob.includes('\n'))
        throw optionError(`${where}.invalidatePattern()`, 'glob', glob, "a pattern like 'user:*'")
      // What is being loaded now is hit, too; and what cannot be found by its key.
      if (!dryRun) await shelf.invalidationLog(given.tenant).invalidate([engine.name(glob)], 'glob')
      let total = 0
      for await (const [stored] of found(glob, given.tenant)) {
        if (!dryRun) await shelf.store.run(unlinkKeys, [stored, `${stored}:lease`], [])
        total++
      }
      return total
    },
    async keys(glob = '*', given = {}) {
      begin('keys', glob, given, WHOSE)
      const all: string[] = []
      for await (const [, key] of found(glob, given.tenant)) all.push(key)
      return all
    },
    hash,
  }
}
