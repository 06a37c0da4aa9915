/** Options of `tp.data`, and its interface. */
import { isTag, type Tag } from '../../caching/tags.ts'
import type { WarmOptions } from '../../caching/warming.ts'
import { durationValidator, type Duration } from '../../duration.ts'
import {
  anyOf,
  boolean,
  callback,
  integer,
  isFunction,
  isObject,
  nonEmptyString,
  type Validator,
  isListOf,
} from '../../validate.ts'
import type { DataSerializer } from './value.ts'

/** Whose values are meant. Required if the application has tenants. */
export interface TenantOption {
  /** Tenant whose values are meant. Required if the application has tenants. */
  tenant?: string
}

/** Options of `set` and `setMany`. */
export interface SetOptions extends TenantOption {
  /** How long the value is kept. @default the namespace's; else RESPONSE_CACHE_TTL (seconds); else one hour */
  ttl?: Duration
  /** Tags of the value. Invalidating one invalidates responses that have it, too. @default none */
  tags?: readonly Tag[]
}

/** Options of `getOrFetch`. */
export interface FetchOptions<Value> extends TenantOption {
  /**
   * How long the value is kept. A function is called with the value; 0 does not store it.
   * @default the namespace's; else RESPONSE_CACHE_TTL (seconds); else one hour
   * @example ttl: (token) => token.expiresIn * 1000
   */
  ttl?: Duration | ((value: Value) => Duration)
  /** Tags of the value. A function is called with the value. @default none */
  tags?: readonly Tag[] | ((value: Value) => readonly Tag[])
  /** How long after its `ttl` a value may be returned while it is loaded again. @default 0 */
  staleWhileRevalidate?: Duration
  /** How long after its `ttl` a value may be returned when the loader throws. @default 0 */
  staleIfError?: Duration
  /** How long to wait for another caller that loads the value, before loading it, too. @default '2s' */
  wait?: Duration
  /** How long a process may load a value before another one tries. @default '10s' */
  lease?: Duration
}

/** A value that `warm` loads. */
export interface WarmEntry<Value = any> extends FetchOptions<Value> {
  /** Its key. */
  key: string
  /** Loads it, if there is none. */
  load: () => Promise<Value> | Value
}

/** Options of `wrap`. */
export interface WrapOptions<Args extends readonly unknown[], Value> extends Omit<
  FetchOptions<Value>,
  'tags' | 'tenant'
> {
  /**
   * Name of the function in keys. Two functions cannot share one. Functions without a name need it.
   * @default the function's own name
   */
  name?: string
  /**
   * Returns the key of a call.
   * @default the name, and a hash of the arguments in which the order of properties does not matter
   * @example key: (id) => `user:${id}`
   */
  key?: (...args: Args) => string
  /** Tags of the result. A function is called with the result and the arguments. @default none */
  tags?: readonly Tag[] | ((value: Value, ...args: Args) => readonly Tag[])
  /** Whose result it is, or a function of the arguments. Required if the application has tenants. */
  tenant?: string | ((...args: Args) => string)
}

/** Options of `namespace`. */
export interface NamespaceOptions {
  /** Default `ttl` of its values. @default RESPONSE_CACHE_TTL (seconds), else one hour */
  ttl?: Duration
  /** Size from which values are compressed, in bytes. false: never. Bytes never are. @default 1024 */
  compress?: number | false
  /**
   * Writes and reads values. Buffers and strings are kept as they are.
   * @default JSON, extended by what JSON has no form for (see docs/data.md)
   */
  serializer?: DataSerializer
  /**
   * Whether hot values are kept in this process, too. Every process follows the writes of all.
   * `true`: up to 32 MiB.
   * @default false
   */
  near?: boolean | { maxBytes: number }
}

/**
 * Plain values, stored like cached responses: tags, one load at a time, one round trip. If the
 * application has tenants, each call without one throws TP_KEY.
 */
export interface DataCache {
  /** Returns the value, or undefined. @throws TP_UNAVAILABLE */
  get<Value = unknown>(key: string, options?: TenantOption): Promise<Value | undefined>
  /**
   * Stores a value. A value that is being loaded meanwhile does not replace it.
   * @throws TP_UNAVAILABLE; TP_VALUE for what cannot be restored
   */
  set(key: string, value: unknown, options?: SetOptions): Promise<void>
  /** Removes a value. Returns whether there was one. @throws TP_UNAVAILABLE */
  delete(key: string, options?: TenantOption): Promise<boolean>
  /** Returns whether there is a value or a counter. @throws TP_UNAVAILABLE */
  exists(key: string, options?: TenantOption): Promise<boolean>
  /**
   * Increments a counter and returns it. A new one begins at 0 and lives for `ttl`.
   * @param amount an integer. @default 1
   * @throws TP_COMMAND if the value is no integer, TP_VALUE if the amount is none
   */
  increment(
    key: string,
    amount?: number,
    options?: TenantOption & { ttl?: Duration },
  ): Promise<number>
  /** Sets how long a value lives from now on. Returns whether there is one. @throws TP_UNAVAILABLE */
  expire(key: string, ttl: Duration, options?: TenantOption): Promise<boolean>
  /** Returns several values in the order of the keys, in one round trip. @throws TP_UNAVAILABLE */
  getMany<Value = unknown>(
    keys: readonly string[],
    options?: TenantOption,
  ): Promise<(Value | undefined)[]>
  /** Stores several values. It is not atomic. @throws TP_UNAVAILABLE, TP_VALUE */
  setMany(values: Readonly<Record<string, unknown>>, options?: SetOptions): Promise<void>
  /**
   * Returns the value. If there is none, loads and stores it, once for all callers in all processes.
   * Undefined is not stored. While Redis is unavailable, every process loads.
   * @returns what a later call will read: a copy of what `load` returned
   * @throws what `load` throws, which is not stored. TP_VALUE for a value that cannot be restored, and
   * for a loader that asks for its own value
   * @example
   * const user = await tp.data.getOrFetch(`user:${id}`, () => db.user(id), { ttl: '10m' })
   */
  getOrFetch<Value>(
    key: string,
    load: () => Promise<Value> | Value,
    options?: FetchOptions<Value>,
  ): Promise<Value>
  /**
   * Returns a function whose results are stored by its arguments.
   * @throws TP_OPTION if another function has the name, or there is no name. The function it returns
   * throws TP_VALUE for arguments that cannot be distinguished.
   * @example
   * const search = tp.data.wrap(findProducts, { ttl: '5m', tags: ['products'] })
   */
  wrap<Args extends readonly unknown[], Value>(
    fn: (...args: Args) => Promise<Value> | Value,
    options?: WrapOptions<Args, Value>,
  ): (...args: Args) => Promise<Value>
  /**
   * Loads values before they are asked for, each as `getOrFetch` does: what is stored stays, and what
   * another process is loading is waited for. A loader that throws is reported by the event `error`.
   * @param options.concurrency number of values that are loaded at once, from 1 to 100. @default 4
   * @returns the number of values that are there: fewer than all if loaders threw, or the instance was
   * closed meanwhile
   * @throws TP_OPTION for an entry that cannot be used; then none is loaded
   * @example
   * await tp.data.warm(ids.map((id) => ({ key: `user:${id}`, load: () => db.user(id), ttl: '10m' })))
   */
  warm(entries: readonly WarmEntry[], options?: WarmOptions): Promise<number>
  /** Returns the same interface with keys and defaults of its own. */
  namespace(name: string, options?: NamespaceOptions): DataCache
  /** Invalidates every value and response that has one of the tags. @throws TP_UNAVAILABLE, TP_VALUE */
  invalidate(what: { tags: readonly Tag[] } & TenantOption): Promise<void>
  /**
   * Removes every key that a pattern matches. `*` matches any characters, `?` matches one.
   * @param options.dryRun only counts
   * @returns the number of keys
   * @throws TP_UNAVAILABLE
   */
  invalidatePattern(glob: string, options?: TenantOption & { dryRun?: boolean }): Promise<number>
  /** Returns the keys that a pattern matches, in no order. @throws TP_UNAVAILABLE */
  keys(glob?: string, options?: TenantOption): Promise<string[]>
  /**
   * Returns a short name for any value. The order of properties does not matter.
   * @throws TP_VALUE for arguments that cannot be distinguished
   */
  hash(value: unknown): string
}

const tagList: Validator = {
  expected: 'a list of tags (non-empty strings or finite numbers)',
  accepts: (value) => isListOf(value, isTag, 0),
}
const string: Validator = { expected: 'a string', accepts: (value) => typeof value === 'string' }

/** Options of every method. */
export const TENANT_OPTION: Record<string, Validator> = { tenant: string }

/** Options of `set`. */
export const SET_OPTIONS: Record<string, Validator> = {
  ...TENANT_OPTION,
  ttl: durationValidator,
  tags: tagList,
}

/** Options of `getOrFetch`. */
export const FETCH_OPTIONS: Record<string, Validator> = {
  ...TENANT_OPTION,
  ttl: anyOf(durationValidator, callback),
  tags: anyOf(tagList, callback),
  staleWhileRevalidate: durationValidator,
  staleIfError: durationValidator,
  wait: durationValidator,
  lease: durationValidator,
}

/** Options of `wrap`. */
export const WRAP_OPTIONS: Record<string, Validator> = {
  ...FETCH_OPTIONS,
  tenant: anyOf(string, callback),
  name: nonEmptyString,
  key: callback,
}

/** Options of `namespace`. */
export const NAMESPACE_OPTIONS: Record<string, Validator> = {
  ttl: durationValidator,
  compress: anyOf(integer(0), { expected: 'false', accepts: (value) => value === false }),
  serializer: {
    expected: '{ serialize, deserialize }',
    accepts: (value) =>
      isObject(value) && isFunction(value['serialize']) && isFunction(value['deserialize']),
  },
  near: anyOf(boolean, {
    expected: '{ maxBytes }',
    accepts: (value) => isObject(value) && integer(1).accepts(value['maxBytes']),
  }),
}
