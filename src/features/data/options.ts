import type { Duration } from '../../duration.ts'
import type { DataSerializer } from './value.ts'

/** Whose values are meant, where the application has tenants. */
export interface TenantOption {
  tenant?: string
}

export interface SetOptions extends TenantOption {
  /** How long the value is kept. Default: the namespace's, else RESPONSE_CACHE_TTL (seconds), else one hour. */
  ttl?: Duration
  /** What it can be invalidated by, together with responses that bear the tag. */
  tags?: readonly string[]
}

export interface FetchOptions<Value> extends TenantOption {
  ttl?: Duration
  /** What it can be invalidated by; a function is given the value. */
  tags?: readonly string[] | ((value: Value) => readonly string[])
  /** For so long after its `ttl` the old value may be given while it is loaded anew. Default 0. */
  staleWhileRevalidate?: Duration
  /** For so long after its `ttl` the old value may be given when the loader throws. Default 0. */
  staleIfError?: Duration
  /** How long to wait for another process that is loading it, before loading it here too. Default `'2s'`. */
  wait?: Duration
  /** How long a process may load before another one tries. Default `'10s'`. */
  lease?: Duration
}

export interface WrapOptions<Args extends readonly unknown[], Value> extends Omit<
  FetchOptions<Value>,
  'tags' | 'tenant'
> {
  /** Names the function in keys. Default: its own name. */
  name?: string
  /** What one call is kept under. Default: a hash of the arguments, in which the order of properties does not matter. */
  key?: (...args: Args) => string
  tags?: readonly string[] | ((value: Value, ...args: Args) => readonly string[])
  tenant?: string | ((...args: Args) => string)
}

export interface NamespaceOptions {
  /** The default `ttl` of its values. */
  ttl?: Duration
  /** From how many bytes on values are compressed; false: never. Default 1,024. */
  compress?: number | false
  /** Default JSON. Bytes and texts are kept as they are, whatever it is. */
  serializer?: DataSerializer
  /** Keep hot values in this process too, coherent with the other processes. Default false; `true`: up to 32 MiB. */
  near?: boolean | { maxBytes: number }
}

/** Plain values over the machinery of the response cache: tags, one load at a time, one round trip. */
export interface DataCache {
  /** The value, or undefined. @throws TP_UNAVAILABLE */
  get<Value = unknown>(key: string, options?: TenantOption): Promise<Value | undefined>
  /** Keep a value. Whoever is loading it meanwhile does not overwrite it. @throws TP_UNAVAILABLE, TP_VALUE */
  set(key: string, value: unknown, options?: SetOptions): Promise<void>
  /** True if it was there. @throws TP_UNAVAILABLE */
  delete(key: string, options?: TenantOption): Promise<boolean>
  /** @throws TP_UNAVAILABLE */
  exists(key: string, options?: TenantOption): Promise<boolean>
  /** Count up, or down; a new counter begins at 0 and lives for `ttl`. @throws TP_COMMAND if the value is no whole number */
  increment(
    key: string,
    amount?: number,
    options?: TenantOption & { ttl?: Duration },
  ): Promise<number>
  /** Give a value another time to live, from now. False if it is not there. @throws TP_UNAVAILABLE */
  expire(key: string, ttl: Duration, options?: TenantOption): Promise<boolean>
  /** The values, in the order of the keys; undefined where there is none. One round trip. @throws TP_UNAVAILABLE */
  getMany<Value = unknown>(
    keys: readonly string[],
    options?: TenantOption,
  ): Promise<(Value | undefined)[]>
  /** Keep several values, as `set` does. Not atomic. @throws TP_UNAVAILABLE, TP_VALUE */
  setMany(values: Readonly<Record<string, unknown>>, options?: SetOptions): Promise<void>
  /**
   * The value, or what `load` gives, which is then kept: loaded once for all who ask at the same time, in all
   * processes. What `load` throws is thrown and not kept; while Redis is away everything is loaded. Undefined is not kept.
   */
  getOrFetch<Value>(
    key: string,
    load: () => Promise<Value> | Value,
    options?: FetchOptions<Value>,
  ): Promise<Value>
  /** A function whose results are kept, by its arguments. */
  wrap<Args extends readonly unknown[], Value>(
    fn: (...args: Args) => Promise<Value> | Value,
    options?: WrapOptions<Args, Value>,
  ): (...args: Args) => Promise<Value>
  /** The same under keys and defaults of its own. */
  namespace(name: string, options?: NamespaceOptions): DataCache
  /** Invalidate everything with one of the tags, responses too: `tp.cache.invalidate`. @throws TP_UNAVAILABLE */
  invalidate(what: { tags: readonly string[] } & TenantOption): Promise<void>
  /** Remove every key that the pattern matches (`*`, `?`). Gives how many there were. @throws TP_UNAVAILABLE */
  invalidatePattern(glob: string, options?: TenantOption & { dryRun?: boolean }): Promise<number>
  /** The keys that the pattern matches, in no order. @throws TP_UNAVAILABLE */
  keys(glob?: string, options?: TenantOption): Promise<string[]>
  /** A short name for any value, whatever the order of its properties. @throws TP_VALUE for functions and symbols */
  hash(value: unknown): string
}
