/** What all mounts of the response cache share: the shelf, the counts, and what is remembered of resources. */
import { BoundedMap } from '../../caching/bounded-map.ts'
import type { CacheEntry } from '../../caching/entry.ts'
import type { InvalidationLog } from '../../caching/invalidation-log.ts'
import type { LookupResult, EntryKeys } from '../../caching/entry-keys.ts'
import type { CacheStore } from '../../caching/cache-store.ts'
import { isUnavailable } from '../../errors.ts'
import type { EventMap } from '../../events.ts'
import type { ExtensionContext } from '../../extension.ts'
import { Edge } from './edge.ts'
import type { Stored } from './stored.ts'

export type Outcome = EventMap['cache']['type']

/** How often the response cache did what, in this process. */
export interface CacheStats {
  /** Answers from fresh entries; `near` of them from this process. */
  hits: number
  near: number
  /** Answers from entries that were no longer fresh. */
  stale: number
  /** Answers shared with a request that came at the same time. */
  collapsed: number
  misses: number
  /** Requests that the cache kept out of. */
  bypassed: number
  /** Entries stored, and those that could not be. */
  stored: number
  failed: number
  /** (hits + stale + collapsed) / (those + misses), from 0 to 1; undefined before the first. */
  hitRate: number | undefined
}

/** For so many ms requests do not wait for each other where the answer could not be kept. */
export const PASS_FOR = 2_000
const REMEMBERED = 10_000

export class CacheEngine {
  readonly shelf: CacheStore
  readonly context: ExtensionContext
  /** By which request headers a resource's responses vary. */
  readonly vary: BoundedMap<readonly string[]> = new BoundedMap(REMEMBERED)
  /** Refreshes on their way through the application, by the entry's key: their leases. */
  readonly refreshing: Map<string, string> = new Map()
  /** What may be answered before the application sees the request. */
  readonly edge: Edge = new Edge()
  readonly #passes = new BoundedMap<number>(REMEMBERED)
  readonly #counts: Record<Outcome, number> = {
    hit: 0,
    near: 0,
    stale: 0,
    collapsed: 0,
    miss: 0,
    bypass: 0,
  }
  #stored = 0
  #failed = 0

  constructor(context: ExtensionContext, shelf: CacheStore) {
    this.context = context
    this.shelf = shelf
  }

  /** The place of a resource's entry. */
  readonly place = (hash: string, readable: string, tenant: string | undefined): EntryKeys => {
    const { keys } = this.context
    const entry = keys.key('cache', keys.tag(hash, tenant), readable)
    return { entry, lease: `${entry}:lease`, ledger: this.shelf.invalidationLog(tenant) }
  }

  ledger(tenant: string | undefined): InvalidationLog {
    return this.shelf.invalidationLog(tenant)
  }

  /** Is it known that answers under this key cannot be kept? */
  passes(key: string): boolean {
    return (this.#passes.get(key) ?? 0) > this.shelf.store.monotonic()
  }

  /** Remember that an answer could not be kept: the next requests do not wait for each other. */
  markPass(key: string): void {
    this.#passes.set(key, this.shelf.store.monotonic() + PASS_FOR)
  }

  unmarkPass(key: string): void {
    this.#passes.delete(key)
  }

  count(name: string, outcome: Outcome, key: string | undefined): void {
    this.#counts[outcome]++
    if (outcome === 'near') this.#counts.hit++
    if (this.context.events.hasListeners('cache'))
      this.context.events.emit('cache', { name, type: outcome, key })
  }

  stats(): CacheStats {
    const { hit: hits, near, stale, collapsed, miss: misses, bypass: bypassed } = this.#counts
    const served = hits + stale + collapsed
    const asked = served + misses
    return {
      hits,
      near,
      stale,
      collapsed,
      misses,
      bypassed,
      stored: this.#stored,
      failed: this.#failed,
      hitRate: asked > 0 ? served / asked : undefined,
    }
  }

  /** Tell that the store could not be used; other errors are thrown on. */
  without(name: string, error: unknown): void {
    if (!isUnavailable(error)) throw error
    if (!this.context.events.hasListeners('unavailable')) return
    const { reason, uncertain } = error
    this.context.events.emit('unavailable', {
      feature: 'cache',
      name,
      reason,
      uncertain,
      rule: 'open',
    })
  }

  /** Store an entry; its failure is reported to nobody but the events. */
  async save(
    name: string,
    place: EntryKeys,
    entry: CacheEntry,
    token: string,
    base: EntryKeys,
  ): Promise<void> {
    try {
      const { vary, variant } = entry.extra as Stored
      if (vary.length === 0) {
        await this.shelf.write(place, entry, { token })
      } else {
        const { nonce, sequence, storedAt, freshUntil, staleUntil, errorUntil } = entry
        const until = Math.max(freshUntil, staleUntil, errorUntil)
        const marker: CacheEntry = {
          nonce,
          sequence,
          storedAt,
          tags: [],
          name: entry.name,
          initialAge: 0,
          freshUntil: until,
          staleUntil: until,
          errorUntil: until,
          cost: 0,
          extra: { marker: vary },
          body: Buffer.alloc(0),
        }
        this.vary.set(base.entry, vary)
        const target: EntryKeys = { ...place, entry: `${base.entry}${variant}` }
        const among = { marker: base.entry, index: `${base.entry}:ages`, id: variant, mark: marker }
        await this.shelf.write(target, entry, { token, variant: among })
      }
      this.#stored++
    } catch (error) {
      this.#failed++
      if (!isUnavailable(error))
        this.context.events.emit('error', { feature: 'cache', name, error })
      else this.without(name, error)
    }
  }
}

/** What an entry is worth now. */
export type Worth = 'fresh' | 'stale' | 'spare' | 'none'

/** Until when an entry is fresh, may be served stale, and may stand in for an error. */
export function deadlines(
  entry: CacheEntry,
  validUntil: number,
): { fresh: number; stale: number; error: number } {
  const fresh = Math.min(entry.freshUntil, validUntil)
  const shift = entry.freshUntil - fresh
  return { fresh, stale: entry.staleUntil - shift, error: entry.errorUntil - shift }
}

/** Fresh; stale, but still to be served while it is made anew; spare: only in an error's place; none. */
export function worthOf({
  entry,
  validUntil,
  now,
}: Pick<LookupResult, 'entry' | 'validUntil' | 'now'>): Worth {
  if (entry === undefined || validUntil === undefined) return 'none'
  const { fresh, stale, error } = deadlines(entry, validUntil)
  if (now < fresh) return 'fresh'
  if (now < stale) return 'stale'
  return now < error ? 'spare' : 'none'
}
