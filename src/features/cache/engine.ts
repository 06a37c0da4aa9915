/** What all mounts of the response cache share: the store, the counts, and what is remembered of resources. */
import { BoundedMap } from '../../caching/bounded-map.ts'
import { lastUseOf, type CacheEntry } from '../../caching/entry.ts'
import type { InvalidationLog } from '../../caching/invalidation-log.ts'
import type { EntryKeys, EntryVariant } from '../../caching/entry-keys.ts'
import type { Fill } from '../../caching/fill.ts'
import type { CacheStore } from '../../caching/cache-store.ts'
import { RefreshBackoff } from '../../caching/refresh-backoff.ts'
import { isUnavailable } from '../../errors.ts'
import type { EventMap } from '../../events.ts'
import type { ExtensionContext } from '../../extension.ts'
import { BackgroundRefreshes } from './background-refreshes.ts'
import type { QueryOptions } from './options.ts'
import type { CacheReason } from './reasons.ts'
import type { CachedResponse, VaryMarker } from './cached-response.ts'

/** What the cache did with a request. */
export type CacheOutcome = EventMap['cache']['type']

/** Counts of the response cache in this process. */
export interface CacheStats {
  /** Replies from fresh entries. */
  hits: number
  /** The part of `hits` that came from the near cache. */
  near: number
  /** Replies from entries that were no longer fresh. */
  stale: number
  /** Replies shared with a request that came at the same time. */
  collapsed: number
  /** Requests that the handler answered. */
  misses: number
  /** Requests that were passed by. */
  bypassed: number
  /** Responses that were stored. */
  stored: number
  /** Responses that could not be stored because Redis was unavailable. */
  failed: number
  /** (hits + stale + collapsed) / (those + misses), from 0 to 1. Undefined before the first request. */
  hitRate: number | undefined
}

/** How long requests do not wait for each other after a response that could not be stored, in ms. */
const PAUSE_MS = 2_000
/** How long a handler sees conditions and ranges after a response that could not be stored, in ms. */
const NOT_STORED_MS = 60_000
const MAX_REMEMBERED = 10_000
const MAX_QUERY_RULES = 100
const MAX_STRIKES = 3

/** Reasons that say nothing about the resource. */
const OF_THE_REQUEST: ReadonlySet<CacheReason> = new Set<CacheReason>([
  'aborted',
  'condition',
  'range',
  'request-no-store',
])
/** Reasons that may be about one request or about all. Only several in a row count for the resource. */
const PERHAPS_OF_THE_REQUEST: ReadonlySet<CacheReason> = new Set<CacheReason>([
  'api-key',
  'authorization',
  'certificate',
  'cookie',
  'error',
  'scope',
  'session',
  'user',
])

/** Why a response was not stored. */
export interface FillFailure {
  readonly reason: CacheReason
  /** 0: the handler sent no head. */
  readonly status: number
  /** True if it was to refresh a stale entry: the next refresh waits. */
  readonly mayBackOff: boolean
}

/** The response cache of an instance. */
export class CacheEngine {
  readonly cacheStore: CacheStore
  readonly context: ExtensionContext
  /** The request headers that a resource's responses vary by, by the resource's key. */
  readonly vary: BoundedMap<readonly string[]> = new BoundedMap(MAX_REMEMBERED)
  /** Resources whose responses say that they are public, by the resource's key. Personal requests look them up. */
  readonly publicResources: BoundedMap<true> = new BoundedMap(MAX_REMEMBERED)
  readonly refreshes: BackgroundRefreshes = new BackgroundRefreshes()
  readonly backoff: RefreshBackoff = new RefreshBackoff()
  readonly #pauses = new BoundedMap<number>(MAX_REMEMBERED)
  readonly #notStored = new BoundedMap<number>(MAX_REMEMBERED)
  readonly #personal = new BoundedMap<number>(MAX_REMEMBERED)
  readonly #queryRules = new Map<string, QueryOptions | undefined>([['', undefined]])
  readonly #strikes = new BoundedMap<number>(MAX_REMEMBERED)
  readonly #counts: Record<CacheOutcome, number> = {
    hit: 0,
    near: 0,
    stale: 0,
    collapsed: 0,
    miss: 0,
    bypass: 0,
  }
  #stored = 0
  #failed = 0

  constructor(context: ExtensionContext, cacheStore: CacheStore) {
    this.context = context
    this.cacheStore = cacheStore
  }

  /** Returns the keys of a resource's entry. */
  readonly keysOf = (hash: string, readable: string, tenant: string | undefined): EntryKeys => {
    const { keys } = this.context
    const entry = keys.key('cache', keys.tag(hash, tenant), readable)
    return { entry, lease: `${entry}:lease`, log: this.invalidationLog(tenant) }
  }

  /** Returns the invalidation log of a tenant. */
  invalidationLog(tenant: string | undefined): InvalidationLog {
    return this.cacheStore.invalidationLog(tenant)
  }

  /** Returns whether the last response of a resource could not be stored. Then requests do not wait for each other. */
  isPaused(key: string): boolean {
    return (this.#pauses.get(key) ?? 0) > this.cacheStore.store.monotonic()
  }

  /** Notes that a response could not be stored. */
  pause(key: string): void {
    this.#pauses.set(key, this.cacheStore.store.monotonic() + PAUSE_MS)
  }

  /** Returns whether responses of a resource were not stored lately. Then the handler sees conditions and ranges. */
  isNotStored(key: string): boolean {
    return (this.#notStored.get(key) ?? 0) > this.cacheStore.store.monotonic()
  }

  /** Returns whether a resource's responses to requests with Authorization could not be shared lately. */
  isPersonal(resource: string): boolean {
    return (this.#personal.get(resource) ?? 0) > this.cacheStore.store.monotonic()
  }

  /** Notes that a resource's responses to requests with Authorization cannot be shared. */
  markPersonal(resource: string): void {
    this.#personal.set(resource, this.cacheStore.store.monotonic() + NOT_STORED_MS)
  }

  /** Lets all requests run that wait for a response, because each of them has to ask the handler. */
  refuseWaiters(fill: Fill, key: string): void {
    this.pause(key)
    fill.refuse(PAUSE_MS)
  }

  /** Notes how a mount reads queries, so that a purge reads them alike. */
  addQueryRules(rules: QueryOptions | undefined): void {
    const id = rules === undefined ? '' : JSON.stringify(rules)
    if (this.#queryRules.size < MAX_QUERY_RULES) this.#queryRules.set(id, rules)
  }

  /** How the mounts of this process read queries. */
  get queryRules(): readonly (QueryOptions | undefined)[] {
    return [...this.#queryRules.values()]
  }

  /** Notes that a response can be stored again. */
  resume(key: string): void {
    this.#pauses.delete(key)
    this.#notStored.delete(key)
    this.#strikes.delete(key)
    this.backoff.succeed(key)
  }

  /**
   * Ends a fill whose response was not stored. If that is because of the request, the next waiter
   * fills. If it is because of the resource, all waiters run.
   */
  endFill(fill: Fill, key: string, { reason, status, mayBackOff }: FillFailure): void {
    if (mayBackOff) this.backoff.fail(key, this.cacheStore.store.monotonic())
    if (OF_THE_REQUEST.has(reason)) return fill.abandon()
    const isPerhapsOfTheRequest =
      PERHAPS_OF_THE_REQUEST.has(reason) || (reason === 'status' && status >= 400)
    if (isPerhapsOfTheRequest && !this.#strike(key)) return fill.abandon()
    this.#notStored.set(key, this.cacheStore.store.monotonic() + NOT_STORED_MS)
    this.refuseWaiters(fill, key)
  }

  /**
   * Notes a response that was not stored, perhaps because of its request. Returns whether there were
   * so many in a row that it is the resource: otherwise its requests would fill one after the other.
   */
  #strike(key: string): boolean {
    const strikes = (this.#strikes.get(key) ?? 0) + 1
    this.#strikes.set(key, strikes)
    return strikes >= MAX_STRIKES
  }

  /**
   * Counts what became of a request.
   * @param key of the entry, if it was worked out
   * @param began when the request came, by `performance.now()`
   */
  count(
    name: string,
    outcome: CacheOutcome,
    key: string | undefined,
    reason?: CacheReason,
    began?: number,
  ): void {
    this.#counts[outcome]++
    if (outcome === 'near') this.#counts.hit++
    this.context.events.counts.row('cache', name).count(outcome)
    if (!this.context.events.hasListeners('cache')) return
    const ms = began === undefined ? undefined : performance.now() - began
    this.context.events.emit('cache', { name, type: outcome, key, reason, ms })
  }

  /** Returns the counts since the process started. */
  stats(): CacheStats {
    const { hit: hits, near, stale, collapsed, miss: misses, bypass: bypassed } = this.#counts
    const served = hits + stale + collapsed
    const all = served + misses
    return {
      hits,
      near,
      stale,
      collapsed,
      misses,
      bypassed,
      stored: this.#stored,
      failed: this.#failed,
      hitRate: all > 0 ? served / all : undefined,
    }
  }

  /** Reports that the store was unavailable. @throws any other error */
  reportUnavailable(name: string, error: unknown): void {
    if (!isUnavailable(error)) throw error
    const { events } = this.context
    if (!events.hasListeners('unavailable')) return
    const { reason, uncertain } = error
    events.emit('unavailable', { feature: 'cache', name, reason, uncertain, rule: 'open' })
  }

  /** Stores an entry. A failure is only reported as an event. */
  async save(name: string, { keys, entry, token, resourceKeys }: SaveRequest): Promise<void> {
    const { vary, variant } = entry.extra as CachedResponse
    try {
      if (vary.length === 0) {
        await this.cacheStore.write(keys, entry, { token })
      } else {
        this.vary.set(resourceKeys.entry, vary)
        const variantKeys = { ...keys, entry: `${resourceKeys.entry}${variant}` }
        const options = { token, variant: variantIn(resourceKeys, entry) }
        await this.cacheStore.write(variantKeys, entry, options)
      }
      this.#stored++
    } catch (error) {
      this.#failed++
      if (isUnavailable(error)) this.reportUnavailable(name, error)
      else this.context.events.emit('error', { feature: 'cache', name, error })
    }
  }
}

/** An entry to store. */
export interface SaveRequest {
  readonly keys: EntryKeys
  /** The keys of the resource. Those of a variant differ. */
  readonly resourceKeys: EntryKeys
  readonly entry: CacheEntry
  /** The token of the lease; '': none is held. */
  readonly token: string
}

/** Returns what is stored beside a variant: the marker that names the fields of Vary. */
function variantIn({ entry: resource }: EntryKeys, entry: CacheEntry): EntryVariant {
  const { nonce, sequence, storedAt, name } = entry
  const { vary, variant } = entry.extra as CachedResponse
  const until = lastUseOf(entry)
  const marker: CacheEntry = {
    nonce,
    sequence,
    tags: [],
    name,
    storedAt,
    initialAge: 0,
    freshUntil: until,
    staleUntil: until,
    errorUntil: until,
    keptUntil: until,
    cost: 0,
    extra: { marker: vary } satisfies VaryMarker,
    body: Buffer.alloc(0),
  }
  return { markerKey: resource, indexKey: `${resource}:ages`, suffix: variant, marker }
}
