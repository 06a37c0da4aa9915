/** The response cache as a feature: a request in, a plan out. */
import type { LookupResult } from '../../caching/entry-keys.ts'
import { MAX_ENTRY_TAGS, tagFields } from '../../caching/tags.ts'
import { passThrough, type Exchange, type Feature, type Plan } from '../../http/exchange.ts'
import { isPromise } from '../../http/promises.ts'
import { requestReason, senderReason } from './bypass.ts'
import { bypassPlan } from './bypass-plan.ts'
import { CacheLookup } from './cache-lookup.ts'
import type { CacheEngine } from './engine.ts'
import { withStatus } from './handler-fill.ts'
import { invalidateAfter } from './invalidation.ts'
import type { ListenerAnswers, NearReply } from './listener-answers.ts'
import type { CacheMount } from './mount.ts'
import { createNearReply } from './near-hit.ts'
import { outerFillsOf, tellOuterFills } from './nesting.ts'
import type { CacheReason } from './reasons.ts'
import { keyParts, ownerOf } from './resource.ts'
import { refill, serve, takeFillTurn } from './serve.ts'

/** A lookup that a pipeline has begun before the request's turn. */
interface EarlyLookup<Native> {
  readonly lookup: CacheLookup<Native>
  /** A promise, unless this process has the entry. */
  readonly looking: Promise<LookupResult> | LookupResult
}

/** Safe methods (RFC 9110, 9.2.1, and IANA's registry) that are not cached. They do not invalidate, either. */
const SAFE = new Set(['OPTIONS', 'TRACE', 'PROPFIND', 'QUERY', 'REPORT', 'SEARCH'])
const isRead = ({ method }: Exchange): boolean => method === 'GET' || method === 'HEAD'

/** One mount of `tp.cache()`. */
export class CacheFeature<Native> implements Feature<Native, EarlyLookup<Native>> {
  readonly name = 'cache'
  /** Looks up with the other reads of a pipeline, if that needs only the request. */
  readonly prepare?: (x: Exchange<Native>) => EarlyLookup<Native> | undefined
  readonly #mount: CacheMount<Native>
  readonly #engine: CacheEngine
  readonly #isAuto: boolean
  /** False if the application's functions decide about a request. */
  readonly #needsOnlyRequest: boolean
  readonly #nearReply: NearReply | undefined
  readonly #listenerAnswers: ListenerAnswers

  constructor(mount: CacheMount<Native>, listenerAnswers: ListenerAnswers) {
    const { engine, options } = mount
    const { key, scope, skip } = options
    this.#mount = mount
    this.#engine = engine
    this.#isAuto = options.ttl === 'auto'
    this.#needsOnlyRequest = !key && !scope && !skip && !engine.context.hasTenants
    this.#listenerAnswers = listenerAnswers
    if (!this.#needsOnlyRequest) return
    this.prepare = (x) => this.#prepare(x)
    if (mount.nearBytes > 0) this.#nearReply = createNearReply(mount)
  }

  discard({ lookup, looking }: EarlyLookup<Native>): void {
    lookup.abandon(looking)
  }

  handle(x: Exchange<Native>, early: EarlyLookup<Native> | undefined): Plan | Promise<Plan> {
    const plan = early === undefined ? this.#nearPlan(x) : undefined
    return plan ?? this.#handle(x, early)
  }

  #prepare(x: Exchange<Native>): EarlyLookup<Native> | undefined {
    if (!isRead(x) || x.isRefresh || requestReason(x, false) !== undefined) return undefined
    // Sessions and users come into being after this.
    if (this.#senderReason(x) !== undefined) return undefined
    const lookup = new CacheLookup(this.#mount, x)
    return { lookup, looking: lookup.lookup() }
  }

  #senderReason(x: Exchange): CacheReason | undefined {
    return this.#mount.isPublic ? undefined : senderReason(x, this.#mount)
  }

  /** Replies from this process, if that needs nothing but the request. */
  #nearPlan(x: Exchange<Native>): Plan | Promise<Plan> | undefined {
    if (this.#nearReply === undefined || !isRead(x) || x.isRefresh) return undefined
    if (requestReason(x, false) !== undefined || this.#senderReason(x) !== undefined)
      return undefined
    if (outerFillsOf(x.native).length > 0) return undefined
    const target = this.#mount.targets.of(x)
    const plan = this.#nearReply(target, x)
    if (plan && this.#mount.beforeFramework && x.listenerKey !== undefined)
      this.#listenerAnswers.remember(x.listenerKey, target, this.#nearReply)
    // The stored body is broken or too large to decode.
    return plan instanceof Promise ? plan.catch(() => this.#bypass('coding')) : plan
  }

  #handle(x: Exchange<Native>, early: EarlyLookup<Native> | undefined): Plan | Promise<Plan> {
    if (!isRead(x)) {
      if (SAFE.has(x.method)) return passThrough
      return { ...withStatus('turnpike; fwd=method'), ...invalidateAfter(this.#engine, {}, x) }
    }
    if (outerFillsOf(x.native).some(({ mount }) => mount === this.#mount)) {
      if (early) this.discard(early)
      return passThrough
    }
    return this.#needsOnlyRequest
      ? this.#handleWith(this.#lookup(x, early), early)
      : this.#ownLookup(x).then((lookup) => this.#handleWith(lookup, early))
  }

  /** @param lookup the lookup of the request, or why the cache does not answer it */
  #handleWith(
    lookup: CacheLookup<Native> | CacheReason,
    early: EarlyLookup<Native> | undefined,
  ): Plan | Promise<Plan> {
    if (typeof lookup === 'string') return this.#bypass(lookup, early)
    const { sender } = lookup
    if (sender !== undefined && !this.#mayShareWith(sender, lookup))
      return this.#bypass(sender, early, lookup)
    const { tags } = this.#mount.options
    return typeof tags === 'function'
      ? this.#findWith(tags, lookup, early)
      : this.#findAllowed(lookup, early)
  }

  async #findWith(
    tags: (native: Native) => unknown,
    lookup: CacheLookup<Native>,
    early: EarlyLookup<Native> | undefined,
  ): Promise<Plan> {
    lookup.addTags(tagFields(await tags(lookup.x.native), 'tp.cache(): tags'))
    return await this.#findAllowed(lookup, early)
  }

  #findAllowed(
    lookup: CacheLookup<Native>,
    early: EarlyLookup<Native> | undefined,
  ): Plan | Promise<Plan> {
    if (lookup.tags.length > MAX_ENTRY_TAGS) return this.#bypass('tags', early)
    if (this.#isNested(lookup)) return this.#bypass('nested', early)
    return this.#find(lookup, early)
  }

  #find(lookup: CacheLookup<Native>, early: EarlyLookup<Native> | undefined): Plan | Promise<Plan> {
    const { x, keys } = lookup
    // Before the lookup: the refresh may end meanwhile.
    const refresh = x.isRefresh ? this.#engine.refreshes.arrive(keys.entry) : undefined
    const planFor = (found: LookupResult | undefined): Plan | Promise<Plan> => {
      if (refresh !== undefined) return refill(lookup, found, refresh)
      return found === undefined ? takeFillTurn(lookup, undefined, 'miss') : serve(lookup, found)
    }
    const looking = early?.looking ?? lookup.lookup()
    if (!isPromise(looking)) return planFor(looking)
    return looking.then(planFor, (error: unknown) => {
      this.#engine.reportUnavailable(this.#mount.name, error)
      return planFor(undefined)
    })
  }

  #lookup(
    x: Exchange<Native>,
    early: EarlyLookup<Native> | undefined,
  ): CacheLookup<Native> | CacheReason {
    const reason = requestReason(x, false)
    if (reason !== undefined) return reason
    const lookup = early?.lookup ?? new CacheLookup(this.#mount, x)
    lookup.sender = this.#senderReason(x)
    return lookup
  }

  /** Returns a lookup for which the application's functions are called. */
  async #ownLookup(x: Exchange<Native>): Promise<CacheLookup<Native> | CacheReason> {
    const { context } = this.#engine
    const { key, scope, skip } = this.#mount.options
    if (skip && (await skip(x.native))) return 'skip'
    const reason = requestReason(x, key !== undefined)
    if (reason !== undefined) return reason
    const owner = scope ? ownerOf(await scope(x.native)) : undefined
    const lookup = new CacheLookup(this.#mount, x, {
      key: key && keyParts(await key(x.native), 'tp.cache()'),
      scope: owner,
      tenant: context.hasTenants ? await context.tenantOf(x.native) : undefined,
    })
    lookup.sender = owner === undefined ? this.#senderReason(x) : undefined
    return lookup
  }

  /** Returns whether a stored response may answer a personal request, as far as is known. */
  #mayShareWith(sender: CacheReason, { resourceKeys }: CacheLookup<Native>): boolean {
    const { publicResources } = this.#engine
    if (publicResources.has(resourceKeys.entry)) return true
    // The response to a request with Authorization says itself if it may be shared (RFC 9111, 3.5).
    return (
      this.#isAuto && sender === 'authorization' && !this.#engine.isPersonal(resourceKeys.entry)
    )
  }

  /** Returns whether an outer cache fills the same entry. Tells outer caches what this one depends on. */
  #isNested({ x, keys, tags, owner }: CacheLookup<Native>): boolean {
    const outer = outerFillsOf(x.native)
    if (outer.length === 0) return false
    tellOuterFills(x.native, { tags, vary: this.#mount.vary, owner })
    const { store } = this.#engine.cacheStore
    return outer.some((fill) => fill.key === keys.entry && fill.store === store)
  }

  #bypass(reason: CacheReason, early?: EarlyLookup<Native>, lookup?: CacheLookup<Native>): Plan {
    if (early) this.discard(early)
    return bypassPlan(this.#mount, reason, lookup?.resourceKeys.entry)
  }
}
