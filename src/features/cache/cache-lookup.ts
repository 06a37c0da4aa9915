/** A request's lookup of its entry: in this process, in the store, and again while it waits for others. */
import type { CacheEntry } from '../../caching/entry.ts'
import type { LookupResult, EntryKeys } from '../../caching/entry-keys.ts'
import type { Acceptance, FillAttempt, SharedEntry } from '../../caching/fill.ts'
import { isWithinFill, mayBeWithin } from '../../caching/fill-context.ts'
import { isValidSince, releaseLease } from '../../caching/fill-turn.ts'
import type { Flight } from '../../caching/single-flight.ts'
import { entryState } from '../../caching/validity.ts'
import type { Exchange } from '../../http/exchange.ts'
import { isPromise } from '../../http/promises.ts'
import type { CacheEngine } from './engine.ts'
import type { CacheMount } from './mount.ts'
import { directivesOf } from './directives.ts'
import { maySend } from './policy.ts'
import type { CacheReason } from './reasons.ts'
import { isAcceptable } from './reply.ts'
import { variantOf, type OwnKey, type Resource } from './resource.ts'
import { isCachedResponse, responseIn, varyIn } from './cached-response.ts'

/** One request's lookup. */
export class CacheLookup<Native> implements FillAttempt {
  readonly x: Exchange<Native>
  readonly mount: CacheMount<Native>
  readonly resource: Resource
  /** The keys of the resource. If its responses vary, a marker is stored there. */
  readonly resourceKeys: EntryKeys
  keys: EntryKeys
  /** The log's fields that invalidate the entry. */
  tags: readonly string[]
  token = ''
  flight: Flight | undefined
  /** The owner of the entry. Undefined: it is not of one owner. */
  readonly owner: string | undefined
  /** What makes the request personal. Only an entry that is public may answer it. */
  sender: CacheReason | undefined
  /** True if the request only has cookies that are ignored. The handler does not see them. */
  readonly hidesCookies: boolean
  /** When the request came, if a listener wants to know how long it takes. */
  readonly began: number | undefined

  constructor(mount: CacheMount<Native>, x: Exchange<Native>, own?: OwnKey) {
    this.mount = mount
    this.x = x
    const { targets, isPublic, varySet } = mount
    const { events } = mount.engine.context
    this.began = events.hasListeners('cache') ? performance.now() : undefined
    this.owner = own?.scope
    this.hidesCookies =
      !isPublic &&
      own?.scope === undefined &&
      !varySet.has('cookie') &&
      x.header('cookie') !== undefined &&
      mount.ignoredCookies.covers(x.header('cookie')!)
    const { resource, keys } = own === undefined ? targets.of(x) : targets.withOwnKey(x, own)
    this.resource = resource
    this.resourceKeys = keys
    this.tags = resource.tags
    const vary = this.engine.vary.get(keys.entry) ?? mount.vary
    this.keys = vary.length > 0 ? this.#variantKeys(vary) : keys
  }

  get engine(): CacheEngine {
    return this.mount.engine
  }

  get now(): number {
    return this.engine.cacheStore.store.now()
  }

  get waitMs(): number {
    return this.mount.waitMs
  }

  /** Returns a request header as the handler sees it. */
  readonly header = (name: string): string | undefined =>
    this.hidesCookies && name === 'cookie' ? undefined : this.x.header(name)

  /** True if the request asks for a part of the body, which the handler may know how to send. */
  get asksForRange(): boolean {
    return this.x.header('range') !== undefined
  }

  /** True if the handler that fills this entry has sent this request. */
  get isWithinOwnFill(): boolean {
    return isWithinFill(this.engine.cacheStore.store, this.keys.entry)
  }

  /** Adds the application's tags. @param fields of the log */
  addTags(fields: readonly string[]): void {
    if (fields.length > 0) this.tags = [...new Set([...this.tags, ...fields])]
  }

  mayWait(): boolean {
    const { mount, x, engine, keys, sender, resourceKeys } = this
    return (
      mount.waitMs > 0 &&
      x.method === 'GET' &&
      // The response to a personal request may be for its sender only.
      (sender === undefined || engine.publicResources.has(resourceKeys.entry)) &&
      // What these make of a response says nothing about the response that others wait for.
      !this.asksForRange &&
      !directivesOf(x.header('cache-control')).has('no-store') &&
      !engine.isPaused(keys.entry) &&
      !this.isWithinOwnFill &&
      !mayBeWithin(engine.cacheStore.singleFlight.get(keys.entry))
    )
  }

  onRefused(): void {
    this.engine.pause(this.keys.entry)
  }

  /**
   * Looks the entry up in this process, then in the store.
   * @param after what an earlier lookup found. If its entry is still stored, it has to be filled again.
   * @throws TP_UNAVAILABLE
   */
  lookup(after?: LookupResult): Promise<LookupResult> | LookupResult {
    const { mount, x, keys } = this
    const { cacheStore } = this.engine
    if (mount.nearBytes > 0 && !after) {
      const near = cacheStore.near(mount.nearBytes).lookup(keys)
      if (near) return near
    }
    this.flight = cacheStore.singleFlight.get(keys.entry)
    const wantsLease = this.mayWait() && !x.isRefresh && (after || !this.flight)
    this.token = wantsLease ? cacheStore.leases.token(keys.lease) : ''
    const { token, tags } = this
    const { leaseMs } = mount
    const { budget } = x
    const invalid = after?.entry && after.entry.freshUntil > after.now ? after.entry : undefined
    return cacheStore
      .lookup(keys, { token, leaseMs, tags, invalid, budget })
      .then((found) => this.#follow(found, after))
  }

  /** Returns what a lookup found, or what it finds where a marker of the resource leads. */
  #follow(
    found: LookupResult,
    after: LookupResult | undefined,
  ): LookupResult | Promise<LookupResult> {
    const { mount, keys } = this
    const { cacheStore } = this.engine
    if (found.lease !== 'ours') this.token = ''
    if (found.lease === 'paused') this.engine.pause(keys.entry)
    const vary = found.validUntil === undefined ? undefined : varyIn(found.entry)
    if (vary === undefined) {
      if (found.entry !== undefined && !isCachedResponse(found.entry))
        return { ...found, entry: undefined, validUntil: undefined }
      if (mount.nearBytes > 0 && entryState(found) === 'fresh')
        cacheStore.near(mount.nearBytes).keep(keys, found)
      return found
    }
    // The marker of the resource: the entry is stored under its variant.
    this.release()
    this.engine.vary.set(this.resourceKeys.entry, vary)
    this.keys = this.#variantKeys(vary)
    return this.lookup(after)
  }

  /** Looks up again. Reports that the store is unavailable, and resolves with undefined then. */
  async lookupAgain(after: LookupResult | undefined): Promise<LookupResult | undefined> {
    try {
      return await this.lookup(after)
    } catch (error) {
      this.engine.reportUnavailable(this.mount.name, error)
      return undefined
    }
  }

  /** Abandons the entry, and releases the lease if the lookup acquired it. */
  abandon(looking: Promise<LookupResult> | LookupResult): void {
    const release = (): void => this.release()
    if (isPromise(looking)) looking.then(release, release)
  }

  /** Releases the lease if this request holds it. */
  release(): void {
    releaseLease(this.engine.cacheStore, this)
  }

  /**
   * Returns whether an entry that another request has filled answers this one. It must not be older
   * than an invalidation that came before this request.
   */
  async accepts(entry: CacheEntry, found: LookupResult | undefined): Promise<Acceptance> {
    const { vary, variant } = responseIn(entry)
    if (vary.length > 0 && variantOf(vary, this.header) !== variant) {
      this.release()
      this.engine.vary.set(this.resourceKeys.entry, vary)
      this.keys = this.#variantKeys(vary)
      return 'elsewhere'
    }
    if (!this.maySend(entry)) return 'no'
    const { log } = this.keys
    try {
      return (await isValidSince(log, entry, found, this.now, this.x.budget)) ? 'yes' : 'no'
    } catch (error) {
      this.engine.reportUnavailable(this.mount.name, error)
      return 'no'
    }
  }

  /** Returns whether there is an entry that may be sent to the client. */
  isUsable(found: LookupResult): found is LookupResult & SharedEntry {
    return found.entry !== undefined && this.maySend(found.entry)
  }

  /** Returns whether an entry may be sent to this request, and can be. */
  maySend(entry: CacheEntry): boolean {
    return maySend(responseIn(entry).sharing, this.sender) && isAcceptable(entry, this.x)
  }

  #variantKeys(vary: readonly string[]): EntryKeys {
    const { entry, log } = this.resourceKeys
    const variant = `${entry}${variantOf(vary, this.header)}`
    return { entry: variant, lease: `${variant}:lease`, log }
  }
}
