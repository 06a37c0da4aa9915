/** The response cache as a feature: a request in, a plan out. */
import type { LookupResult } from '../../caching/entry-keys.ts'
import { Fill, type SharedEntry } from '../../caching/fill.ts'
import { takeTurn } from '../../caching/fill-turn.ts'
import { MAX_ENTRY_TAGS, tagFields } from '../../caching/tags.ts'
import { deadlinesOf, entryState } from '../../caching/validity.ts'
import { passThrough, type Exchange, type Feature, type Plan } from '../../http/exchange.ts'
import { requestReason, senderReason } from './bypass.ts'
import { bypassPlan } from './bypass-plan.ts'
import { CacheLookup } from './cache-lookup.ts'
import { responseIn } from './cached-response.ts'
import { directivesOf, type Directives } from './directives.ts'
import type { CacheEngine, CacheOutcome } from './engine.ts'
import { fillByHandler, withStatus } from './handler-fill.ts'
import { invalidateAfter } from './invalidation.ts'
import type { ListenerAnswers, NearReply } from './listener-answers.ts'
import type { CacheMount } from './mount.ts'
import { createNearReply } from './near-hit.ts'
import { outerFillsOf, tellOuterFills } from './nesting.ts'
import type { CacheReason } from './reasons.ts'
import { decideFor, isEarlyRefresh, refreshInBackground } from './refresh.ts'
import { ageOf, replyFrom } from './reply.ts'
import { notCached, satisfies } from './request-directives.ts'
import { keyParts, ownerOf } from './resource.ts'
import type { Forward } from './response-fill.ts'

/** A lookup that a pipeline has begun before the request's turn. */
interface EarlyLookup<Native> {
  readonly lookup: CacheLookup<Native>
  readonly looking: Promise<LookupResult>
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
    if (!isRead(x) || x.isBackground || requestReason(x, false) !== undefined) return undefined
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
    if (this.#nearReply === undefined || !isRead(x) || x.isBackground) return undefined
    if (requestReason(x, false) !== undefined || this.#senderReason(x) !== undefined)
      return undefined
    if (outerFillsOf(x.native).length > 0) return undefined
    const target = this.#mount.targets.of(x)
    const plan = this.#nearReply(target, x)
    if (plan && this.#mount.beforeFramework && x.listenerKey !== undefined)
      this.#listenerAnswers.remember(x.listenerKey, target, this.#nearReply)
    return plan
  }

  async #handle(x: Exchange<Native>, early: EarlyLookup<Native> | undefined): Promise<Plan> {
    if (!isRead(x)) {
      if (SAFE.has(x.method)) return passThrough
      return { ...withStatus('turnpike; fwd=method'), ...invalidateAfter(this.#engine, {}, x) }
    }
    if (outerFillsOf(x.native).some(({ mount }) => mount === this.#mount)) {
      if (early) this.discard(early)
      return passThrough
    }
    const lookup = this.#needsOnlyRequest ? this.#lookup(x, early) : await this.#ownLookup(x)
    if (typeof lookup === 'string') return this.#bypass(lookup, early)
    const { sender } = lookup
    if (sender !== undefined && !this.#engine.publicResources.has(lookup.resourceKeys.entry))
      return this.#bypass(sender, early, lookup)
    const { tags } = this.#mount.options
    if (typeof tags === 'function')
      lookup.addTags(tagFields(await tags(x.native), 'tp.cache(): tags'))
    if (lookup.tags.length > MAX_ENTRY_TAGS) return this.#bypass('tags', early)
    if (this.#isNested(lookup)) return this.#bypass('nested', early)
    return await this.#find(lookup, early)
  }

  async #find(lookup: CacheLookup<Native>, early: EarlyLookup<Native> | undefined): Promise<Plan> {
    const { x, keys } = lookup
    // Before the lookup: the refresh may end meanwhile.
    const refresh = x.isBackground ? this.#engine.refreshes.arrive(keys.entry) : undefined
    let found: LookupResult | undefined
    try {
      found = await (early?.looking ?? lookup.lookup())
    } catch (error) {
      this.#engine.reportUnavailable(this.#mount.name, error)
    }
    if (refresh !== undefined) return await this.#refill(lookup, found, refresh)
    if (found === undefined) return await this.#takeTurn(lookup, undefined, 'miss')
    return await this.#serve(lookup, found)
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

  /** Serves what was found, or has it filled. */
  async #serve(lookup: CacheLookup<Native>, first: LookupResult): Promise<Plan> {
    const { x, sender } = lookup
    const asked = this.#isAuto
      ? directivesOf(x.header('cache-control') ?? x.header('pragma'))
      : undefined
    if (entryState(first) === 'fresh') {
      if (lookup.isUsable(first)) return await this.#serveFresh(lookup, first, asked)
      // What is stored is for anonymous requests: the responses are not public any more.
      if (sender !== undefined) return this.#bypassPersonal(lookup, sender)
    }
    if (asked?.has('only-if-cached')) return this.#notCached(lookup)
    if (x.method === 'HEAD' || x.isBackground) return await this.#takeTurn(lookup, first, 'miss')
    const { singleFlight } = this.#engine.cacheStore
    // Asked once. The flight may end at any moment, and then the entry is there.
    const hasFlight = singleFlight.get(lookup.keys.entry) !== undefined
    // A pattern or an unknown tag has hit the entry. The script did not see that, and gave no lease.
    const isClaimed = first.entry !== undefined && first.lease === 'none' && !hasFlight
    const found = isClaimed ? await this.#claim(lookup, first) : first
    const state = entryState(found)
    if (lookup.isUsable(found) && asked?.has('no-cache') !== true) {
      const decision = decideFor(lookup, found, hasFlight)
      const outcome = state === 'fresh' ? 'hit' : 'stale'
      if (decision === 'serve') return await this.#hit(lookup, found, outcome)
      if (decision === 'refresh' && refreshInBackground(lookup, found))
        return await this.#hit(lookup, found, outcome)
    }
    return await this.#takeTurn(lookup, found, state === 'unusable' ? 'miss' : 'stale')
  }

  #bypassPersonal(lookup: CacheLookup<Native>, sender: CacheReason): Plan {
    lookup.release()
    this.#engine.publicResources.delete(lookup.resourceKeys.entry)
    return this.#bypass(sender, undefined, lookup)
  }

  async #serveFresh(
    lookup: CacheLookup<Native>,
    found: LookupResult & SharedEntry,
    asked: Directives | undefined,
  ): Promise<Plan> {
    if (!asked || satisfies(found, asked)) {
      if (isEarlyRefresh(this.#mount, found)) this.#refreshEarly(lookup, found)
      return await this.#hit(lookup, found, found.near ? 'near' : 'hit')
    }
    if (asked.has('only-if-cached')) return this.#notCached(lookup)
    const fill = new Fill(this.#engine.cacheStore, lookup.keys, '', undefined)
    return await fillByHandler(lookup, found, fill, 'request')
  }

  #notCached(lookup: CacheLookup<Native>): Plan {
    lookup.release()
    return notCached(lookup.x)
  }

  #refreshEarly(lookup: CacheLookup<Native>, found: LookupResult & SharedEntry): void {
    if (this.#engine.cacheStore.singleFlight.get(lookup.keys.entry)) return
    void this.#claim(lookup, found).then(
      ({ lease }) => {
        if (lease === 'ours' && !refreshInBackground(lookup, { ...found, lease })) lookup.release()
      },
      () => {},
    )
  }

  /** Takes the lease of an entry that is stored, if requests may wait for it. */
  async #claim(lookup: CacheLookup<Native>, found: LookupResult): Promise<LookupResult> {
    if (!lookup.mayWait()) return found
    return (await lookup.lookupAgain(found)) ?? found
  }

  async #hit(
    lookup: CacheLookup<Native>,
    { entry, validUntil, now }: SharedEntry,
    outcome: CacheOutcome,
  ): Promise<Plan> {
    lookup.release()
    const { x, owner } = lookup
    if (outerFillsOf(x.native).length > 0)
      tellOuterFills(x.native, { tags: entry.tags, vary: responseIn(entry).vary, owner })
    const ttl = Math.floor((deadlinesOf(entry, validUntil ?? Infinity).fresh - now) / 1000)
    const status = outcome === 'collapsed' ? 'fwd=miss; collapsed' : `hit; ttl=${ttl}`
    const added = { 'Cache-Status': `turnpike; ${status}`, Age: String(ageOf(entry, now)) }
    try {
      const reply = await replyFrom(entry, x, added)
      this.#engine.count(this.#mount.name, outcome, lookup.keys.entry)
      return { reply }
    } catch {
      // The stored body is broken or too large to decode.
      return this.#bypass('coding')
    }
  }

  /** Waits for another request or process that fills the entry, or lets the handler fill it. */
  async #takeTurn(
    lookup: CacheLookup<Native>,
    found: LookupResult | undefined,
    forward: Forward,
  ): Promise<Plan> {
    if (lookup.isWithinOwnFill) {
      lookup.release()
      return this.#bypass('loop')
    }
    const turn = await takeTurn(this.#engine.cacheStore, lookup, found)
    return 'shared' in turn
      ? await this.#hit(lookup, turn.shared, 'collapsed')
      : await fillByHandler(lookup, turn.found, turn.fill, forward)
  }

  /** Lets a background request fill the entry. @param token of the lease that its sender holds */
  async #refill(
    lookup: CacheLookup<Native>,
    found: LookupResult | undefined,
    token: string,
  ): Promise<Plan> {
    const { cacheStore } = this.#engine
    const { keys } = lookup
    const flight = cacheStore.singleFlight.begin(keys.entry, keys.log.epoch, false)
    return await fillByHandler(lookup, found, new Fill(cacheStore, keys, token, flight), 'stale')
  }
}
