/** The methods of `tp.data` and of its namespaces. */
import { cacheStoreOf } from '../../caching/cache-store.ts'
import { incrementCounter, expireEntry } from '../../caching/entry-operations.ts'
import { tagFields, type Tag } from '../../caching/tags.ts'
import { WARM_OPTIONS, warmEach } from '../../caching/warming.ts'
import { durationOption, durationValidator, type Duration } from '../../duration.ts'
import { TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import { requireTenant } from '../../store/subject.ts'
import { entryState } from '../../caching/validity.ts'
import {
  isFunction,
  isObject,
  nonEmptyString,
  optionError,
  validateOptions,
  type Validator,
} from '../../validate.ts'
import { DataEngine, type Lifetime } from './engine.ts'
import { createLoader, type DataLoader, type LoadCall } from './loader.ts'
import {
  FETCH_OPTIONS,
  NAMESPACE_OPTIONS,
  SET_OPTIONS,
  TENANT_OPTION,
  WRAP_OPTIONS,
  type DataCache,
  type FetchOptions,
  type NamespaceOptions,
  type SetOptions,
  type TenantOption,
  type WarmEntry,
  type WrapOptions,
} from './options.ts'
import { listKeys, removeKeys } from './patterns.ts'
import { hashOf } from './value.ts'
import { claimFunctionName } from './wrapped-functions.ts'

const DEFAULT_NEAR_BYTES = 32 * 1024 * 1024

/** `tp.data`, or one of its namespaces. Its methods may be used without it. */
export class DataNamespace implements DataCache {
  readonly #context: ExtensionContext
  readonly #name: string
  readonly #options: NamespaceOptions
  readonly #defaultTtl: () => number
  /** How errors call this namespace. */
  readonly #where: string
  #engine: DataEngine | undefined
  #loader: DataLoader | undefined

  constructor(
    context: ExtensionContext,
    name: string,
    options: NamespaceOptions,
    defaultTtl: () => number,
  ) {
    this.#context = context
    this.#name = name
    this.#options = options
    this.#defaultTtl = defaultTtl
    this.#where = name === '' ? 'tp.data' : `tp.data.namespace('${name}')`
  }

  readonly get = async <Value>(
    key: string,
    given: TenantOption = {},
  ): Promise<Value | undefined> => {
    const { engine, tenant } = this.#check('get', key, given, TENANT_OPTION)
    return (await engine.read(key, tenant)) as Value | undefined
  }

  readonly set = async (key: string, value: unknown, given: SetOptions = {}): Promise<void> => {
    const { engine, tenant, where } = this.#check('set', key, given, SET_OPTIONS)
    const lifetime: Lifetime = {
      ttl: this.#ttl(where, given.ttl),
      tags: tagFields(given.tags ?? [], where),
      staleFor: 0,
      errorFor: 0,
    }
    await engine.set(key, value, lifetime, tenant)
  }

  readonly delete = async (key: string, given: TenantOption = {}): Promise<boolean> => {
    const { engine, tenant } = this.#check('delete', key, given, TENANT_OPTION)
    return await engine.delete(key, tenant)
  }

  readonly exists = async (key: string, given: TenantOption = {}): Promise<boolean> => {
    const { engine, tenant } = this.#check('exists', key, given, TENANT_OPTION)
    const found = await engine.find(key, tenant)
    return entryState(found) === 'fresh' || found.other !== undefined
  }

  readonly increment = async (
    key: string,
    amount = 1,
    given: TenantOption & { ttl?: Duration } = {},
  ): Promise<number> => {
    const options = { ...TENANT_OPTION, ttl: durationValidator }
    const { engine, tenant, where } = this.#check('increment', key, given, options)
    if (!Number.isSafeInteger(amount)) {
      const message = `${where}: the amount must be an integer; it is ${amount}.`
      throw new TurnpikeError('TP_VALUE', message)
    }
    const { entry, lease } = engine.keysOf(key, tenant)
    const args = [amount, Math.ceil(this.#ttl(where, given.ttl))]
    return await engine.cacheStore.store.run(incrementCounter, [entry, lease], args)
  }

  readonly expire = async (
    key: string,
    ttl: Duration,
    given: TenantOption = {},
  ): Promise<boolean> => {
    const { engine, tenant, where } = this.#check('expire', key, given, TENANT_OPTION)
    const { entry, log } = engine.keysOf(key, tenant)
    const ms = Math.ceil(this.#ttl(where, ttl))
    if (log.needsRenewal(ms)) await log.open(ms)
    return (await engine.cacheStore.store.run(expireEntry, [entry], [ms])) === 1
  }

  readonly getMany = async <Value>(
    keys: readonly string[],
    given: TenantOption = {},
  ): Promise<(Value | undefined)[]> => {
    if (!Array.isArray(keys))
      throw optionError(`${this.#where}.getMany()`, 'keys', keys, 'a list of keys')
    return await Promise.all(Array.from(keys, (key) => this.get<Value>(key, given)))
  }

  readonly setMany = async (
    values: Readonly<Record<string, unknown>>,
    given: SetOptions = {},
  ): Promise<void> => {
    if (!isObject(values))
      throw optionError(`${this.#where}.setMany()`, 'values', values, 'an object')
    await Promise.all(Object.entries(values).map(([key, value]) => this.set(key, value, given)))
  }

  readonly getOrFetch = async <Value>(
    key: string,
    load: () => Promise<Value> | Value,
    given: FetchOptions<Value> = {},
  ): Promise<Value> => {
    const { engine, tenant, where } = this.#check('getOrFetch', key, given, FETCH_OPTIONS)
    if (!isFunction(load)) throw optionError(where, 'load', load, 'a function')
    return await this.#load(engine, this.#loadCall(where, key, tenant, load, given))
  }

  readonly wrap = <Args extends readonly unknown[], Value>(
    fn: (...args: Args) => Promise<Value> | Value,
    given: WrapOptions<Args, Value> = {},
  ): ((...args: Args) => Promise<Value>) => {
    const where = `${this.#where}.wrap()`
    if (!isFunction(fn)) throw optionError(where, 'fn', fn, 'a function')
    validateOptions(where, given, WRAP_OPTIONS)
    const { name = fn.name, key: keyOf, tags, tenant: tenantOf, ...rest } = given
    if (!keyOf) claimFunctionName(this.#context, { where, namespace: this.#name, name, fn })
    return async (...args: Args) => {
      const own = keyOf ? keyOf(...args) : `${name}:${hashOf(args)}`
      const whose = typeof tenantOf === 'function' ? tenantOf(...args) : tenantOf
      const options: FetchOptions<Value> = {
        ...rest,
        ...(tags && {
          tags: typeof tags === 'function' ? (value: Value) => tags(value, ...args) : tags,
        }),
        ...(whose !== undefined && { tenant: whose }),
      }
      const { engine, tenant } = this.#check('wrap', own, options, FETCH_OPTIONS)
      return await this.#load(
        engine,
        this.#loadCall(where, own, tenant, () => fn(...args), options),
      )
    }
  }

  readonly warm: DataCache['warm'] = async (entries, given = {}) => {
    const where = `${this.#where}.warm()`
    validateOptions(where, given, WARM_OPTIONS)
    const expected = 'a list of objects { key, load }'
    if (!Array.isArray(entries)) throw optionError(where, 'entries', entries, expected)
    const engine = this.#open()
    const calls = Array.from(entries as readonly WarmEntry[], (entry) => {
      if (!isObject(entry)) throw optionError(where, 'entries', entry, expected)
      const { key, load, ...options } = entry as WarmEntry
      const { tenant } = this.#check('warm', key, options, FETCH_OPTIONS)
      if (!isFunction(load)) throw optionError(where, 'load', load, 'a function')
      return this.#loadCall(where, key, tenant, load, options)
    })
    return await warmEach(calls, given, this.#context.closing, async (call) => {
      try {
        return (await this.#load(engine, call)) !== undefined
      } catch (error) {
        engine.report(error)
        return false
      }
    })
  }

  readonly namespace = (name: string, given: NamespaceOptions = {}): DataCache => {
    if (!nonEmptyString.accepts(name))
      throw optionError(`${this.#where}.namespace()`, 'name', name, nonEmptyString.expected)
    validateOptions(`${this.#where}.namespace('${name}')`, given, NAMESPACE_OPTIONS)
    const full = this.#name === '' ? name : `${this.#name}:${name}`
    return new DataNamespace(this.#context, full, { ...this.#options, ...given }, this.#defaultTtl)
  }

  readonly invalidate = async (given: { tags: readonly Tag[] } & TenantOption): Promise<void> => {
    const where = `${this.#where}.invalidate()`
    const tags: Validator = { expected: 'a list of tags', accepts: Array.isArray }
    validateOptions(where, given, { ...TENANT_OPTION, tags })
    const tenant = requireTenant(this.#context, given.tenant, where)
    const log = this.#open().cacheStore.invalidationLog(tenant)
    await log.invalidate(tagFields(given.tags, where), 'hard')
  }

  readonly invalidatePattern = async (
    glob: string,
    { dryRun = false, ...given }: TenantOption & { dryRun?: boolean } = {},
  ): Promise<number> => {
    const { engine, tenant, where } = this.#check('invalidatePattern', glob, given, TENANT_OPTION)
    if (glob.includes('\n')) throw optionError(where, 'glob', glob, "a pattern like 'user:*'")
    return await removeKeys(this.#context, engine, glob, tenant, dryRun)
  }

  readonly keys = async (glob = '*', given: TenantOption = {}): Promise<string[]> => {
    const { engine, tenant } = this.#check('keys', glob, given, TENANT_OPTION)
    return await listKeys(this.#context, engine, glob, tenant)
  }

  readonly hash: DataCache['hash'] = hashOf

  #open(): DataEngine {
    const { compress = 1024, near = false, serializer, ttl } = this.#options
    return (this.#engine ??= new DataEngine(this.#context, cacheStoreOf(this.#context), {
      namespace: this.#name,
      ttl: ttl === undefined ? this.#defaultTtl() : durationOption(ttl, this.#where, 'ttl'),
      packFrom: compress === false ? Infinity : compress,
      serializer,
      nearBytes: typeof near === 'object' ? near.maxBytes : near ? DEFAULT_NEAR_BYTES : 0,
    }))
  }

  #load<Value>(engine: DataEngine, call: LoadCall<Value>): Promise<Value> {
    this.#loader ??= createLoader(engine)
    return this.#loader.fetch(call)
  }

  /** Validates a call. @throws TP_OPTION, TP_KEY */
  #check(
    method: string,
    key: unknown,
    given: object,
    options: Record<string, Validator>,
  ): { engine: DataEngine; tenant: string | undefined; where: string } {
    const where = `${this.#where}.${method}()`
    validateOptions(where, given, options)
    if (typeof key !== 'string' || key === '')
      throw optionError(where, 'key', key, nonEmptyString.expected)
    const tenant = requireTenant(this.#context, (given as TenantOption).tenant, where)
    return { engine: this.#open(), tenant, where }
  }

  #ttl(where: string, ttl: Duration | undefined, min = 1): number {
    return ttl === undefined ? this.#open().settings.ttl : durationOption(ttl, where, 'ttl', min)
  }

  #loadCall<Value>(
    where: string,
    key: string,
    tenant: string | undefined,
    load: () => Promise<Value> | Value,
    options: FetchOptions<Value>,
  ): LoadCall<Value> {
    const { ttl, tags = [], staleWhileRevalidate = 0, staleIfError = 0 } = options
    const { wait = '2s', lease = '10s' } = options
    const staleFor = durationOption(staleWhileRevalidate, where, 'staleWhileRevalidate', 0)
    const errorFor = durationOption(staleIfError, where, 'staleIfError', 0)
    const fixedTtl = typeof ttl === 'function' ? undefined : this.#ttl(where, ttl)
    return {
      key,
      tenant,
      load,
      waitMs: durationOption(wait, where, 'wait', 0),
      leaseMs: durationOption(lease, where, 'lease'),
      lifetimeOf: (value) => ({
        ttl: fixedTtl ?? this.#ttl(where, (ttl as (value: Value) => Duration)(value), 0),
        tags: tagFields(typeof tags === 'function' ? tags(value) : tags, where),
        staleFor,
        errorFor,
      }),
    }
  }
}
