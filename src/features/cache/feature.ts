/** The response cache as a feature: a request in, a Plan out. */
import type { Flight } from '../../caching/single-flight.ts'
import type { LogPosition } from '../../caching/invalidation-log.ts'
import type { LookupResult } from '../../caching/entry-keys.ts'
import {
  passThrough,
  type Exchange,
  type Feature,
  type PassPlan,
  type Plan,
} from '../../http/exchange.ts'
import { isSomebodys, obstacle } from './admission.ts'
import { directivesOf } from './directives.ts'
import { deadlines, worthOf, type Outcome } from './engine.ts'
import { invalidateAfter } from './invalidate.ts'
import { Making, type Forward } from './making.ts'
import type { Mount } from './mount.ts'
import { nearby } from './nearby.ts'
import { ageOf, CONDITIONS, isAcceptable, replyFrom } from './reply.ts'
import { decoded, storedIn } from './stored.ts'
import { Visit } from './visit.ts'
import { turnOf } from './waiting.ts'
import { suits, tooOld } from './wishes.ts'

interface Early<Native> {
  readonly visit: Visit<Native>
  readonly looking: Promise<LookupResult>
}

type Shared = Pick<LookupResult, 'entry' | 'validUntil' | 'now'> & { lease?: LookupResult['lease'] }

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])
const isGet = ({ method }: Exchange): boolean => method === 'GET' || method === 'HEAD'
const status = (text: string): PassPlan => ({
  headers: () => ({ 'Cache-Status': `turnpike; ${text}` }),
})

export function cacheFeature<Native>(mount: Mount<Native>): Feature<Native, Early<Native>> {
  const { engine, options, name } = mount
  const { shelf } = engine
  const { key, scope, skip, tags = [], public: isPublic = false } = options
  const isAuto = options.ttl === 'auto'
  const needsOnlyRequest = !key && !scope && !skip && !engine.context.hasTenants

  function kept(): Plan {
    engine.count(name, 'bypass', undefined)
    return status('fwd=bypass')
  }

  async function begin(x: Exchange<Native>): Promise<Visit<Native> | undefined> {
    const given = scope ? await scope(x.native) : undefined
    const who = given === undefined || given === null ? undefined : String(given)
    if (who === undefined && !isPublic && isSomebodys(x)) return undefined
    const own = key ? await key(x.native) : undefined
    return new Visit(mount, x, own, who, await engine.context.tenantOf(x.native))
  }

  const here = needsOnlyRequest && mount.near > 0 ? nearby(mount) : undefined

  /** From this process, if it can be had without asking anybody. */
  function handle(x: Exchange<Native>, early: Early<Native> | undefined): Plan | Promise<Plan> {
    const isHere = here !== undefined && early === undefined && isGet(x) && !x.isBackground
    const isAllowed = isHere && obstacle(x) === undefined && (isPublic || !isSomebodys(x))
    const target = isAllowed ? mount.targets.of(x) : undefined
    const plan = target && here!(target, x)
    if (plan && mount.beforeFramework && x.listenerKey !== undefined)
      engine.edge.learn(x.listenerKey, target, here!)
    return plan ?? seek(x, early)
  }

  async function seek(x: Exchange<Native>, early: Early<Native> | undefined): Promise<Plan> {
    if (!isGet(x)) {
      return SAFE.has(x.method)
        ? passThrough
        : { ...status('fwd=method'), ...invalidateAfter(engine, {}, x) }
    }
    const out = (skip && (await skip(x.native))) || obstacle(x, key) !== undefined
    const visit = out
      ? undefined
      : early && !isPublic && isSomebodys(x)
        ? undefined
        : (early?.visit ?? (await begin(x)))
    if (!visit) {
      if (early) early.visit.abandon(early.looking)
      return kept()
    }
    visit.tag(typeof tags === 'function' ? await tags(x.native) : tags)
    const refresh = x.isBackground ? engine.refreshing.get(visit.place.entry) : undefined
    let found: LookupResult | undefined
    try {
      found = await (early?.looking ?? visit.look())
    } catch (error) {
      engine.without(name, error)
    }
    if (refresh !== undefined) {
      visit.token = refresh
      return await making(
        visit,
        found,
        shelf.flights.begin(visit.place.entry, visit.base.ledger.epoch, false),
        'stale',
      )
    }
    return found ? await serve(visit, found) : await make(visit, undefined, 'miss')
  }

  /** Answer with what was found, or have it made. */
  async function serve(visit: Visit<Native>, found: LookupResult): Promise<Plan> {
    const { x } = visit
    const wishes = isAuto
      ? directivesOf(x.header('cache-control') ?? x.header('pragma'))
      : undefined
    let worth = worthOf(found)
    if (worth === 'fresh' && isAcceptable(found.entry!, x)) {
      if (!wishes || suits(found.entry!, found, wishes)) {
        if (isEarly(found) && !shelf.flights.get(visit.place.entry))
          void claim(visit, found).then(
            (found) => found.lease === 'ours' && !refresh(visit, found) && visit.giveBack(),
            () => {},
          )
        return hit(visit, found, found.near ? 'near' : 'hit')
      }
      if (wishes.has('only-if-cached')) return tooOld(visit)
      return await making(visit, found, undefined, 'request')
    }
    if (wishes?.has('only-if-cached')) return tooOld(visit)
    if (x.method === 'HEAD' || x.isBackground) return await make(visit, found, 'miss')
    // Asked once: it may end at any moment, and then nobody is to begin anew what is there by now.
    const isMade = shelf.flights.get(visit.place.entry) !== undefined
    // What a pattern has hit, or a tag that was not asked for: the lease has to be asked for.
    if (found.entry && found.lease === 'none' && !isMade) {
      found = await claim(visit, found)
      worth = worthOf(found)
      if (worth === 'fresh' && isAcceptable(found.entry!, x)) return hit(visit, found, 'hit')
    }
    if (worth !== 'stale' || wishes?.has('no-cache') || !isAcceptable(found.entry!, x))
      return await make(visit, found, worth === 'none' ? 'miss' : 'stale')
    if (found.lease !== 'theirs' && !isMade && !refresh(visit, found))
      return await make(visit, found, 'stale')
    return hit(visit, found, 'stale')
  }

  /** Take the lease of an entry that is there, if anybody may wait for anybody here. */
  async function claim(visit: Visit<Native>, found: LookupResult): Promise<LookupResult> {
    if (mount.wait === 0 || engine.passes(visit.place.entry)) return found
    try {
      return await visit.look(found)
    } catch (error) {
      engine.without(name, error)
      return found
    }
  }

  /** Is it this request's lot to have an entry made anew before its time (Vattani et al., VLDB 2015)? */
  function isEarly({ entry, validUntil, now }: LookupResult): boolean {
    if (
      !mount.background ||
      mount.wait === 0 ||
      entry!.staleUntil <= entry!.freshUntil ||
      entry!.cost === 0
    )
      return false
    return now - entry!.cost * Math.log(1 - Math.random()) >= deadlines(entry!, validUntil!).fresh
  }

  /** Have an entry made anew with nobody waiting. False where that is not possible. */
  function refresh(visit: Visit<Native>, { lease }: LookupResult): boolean {
    const { x, place } = visit
    const { entry } = place
    if (engine.refreshing.has(entry)) return true
    if (!mount.background) return false
    const held = lease === 'ours' ? visit.token : ''
    // Nobody's request: an entry that all share must not become somebody's.
    const hidden = Object.fromEntries(
      [...CONDITIONS, 'cookie', 'cache-control', 'pragma'].map((field) => [field, undefined]),
    )
    engine.refreshing.set(entry, held)
    const over = x.sendInBackground(hidden)
    if (over === undefined) engine.refreshing.delete(entry)
    else visit.token = ''
    void over?.finally(() => {
      engine.refreshing.delete(entry)
      if (held !== '') shelf.leases.giveBack(place.lease, held)
    })
    return over !== undefined
  }

  async function hit(
    visit: Visit<Native>,
    { entry, validUntil, now, lease }: Shared,
    outcome: Outcome,
  ): Promise<Plan> {
    const ttl = Math.floor((deadlines(entry!, validUntil ?? Infinity).fresh - now) / 1000)
    const how = outcome === 'collapsed' ? 'fwd=miss; collapsed' : `hit; ttl=${ttl}`
    engine.count(name, outcome, visit.place.entry)
    if (lease === 'ours') visit.giveBack()
    const age = { Age: String(ageOf(entry!, now)) }
    return {
      reply: await replyFrom(entry!, visit.x, { 'Cache-Status': `turnpike; ${how}`, ...age }),
    }
  }

  /** Have a response made: by whoever makes it already, in this process or another, or by the handler. */
  async function make(
    visit: Visit<Native>,
    found: LookupResult | undefined,
    forward: Forward,
  ): Promise<Plan> {
    const turn = await turnOf(visit, found)
    return 'shared' in turn
      ? await hit(visit, turn.shared, 'collapsed')
      : await making(visit, turn.found, turn.flight, forward)
  }

  /** The handler's turn. */
  async function making(
    visit: Visit<Native>,
    found: LookupResult | undefined,
    flight: Flight | undefined,
    forward: Forward,
  ): Promise<Plan> {
    const { x } = visit
    engine.count(name, 'miss', visit.place.entry)
    if (x.method === 'HEAD') return status(`fwd=${forward}`)
    try {
      return new Making(visit, {
        origin: found && (await originOf(visit, found)),
        flight,
        former: await spare(found),
        forward,
      }).plan()
    } catch (error) {
      flight?.end()
      throw error
    }
  }

  /** What was there before, its body decoded: it may have to be sent at once. */
  async function spare(found: LookupResult | undefined): Promise<LookupResult | undefined> {
    const entry =
      found?.validUntil === undefined || found.validUntil === 0 ? undefined : found.entry
    if (!found || !entry) return undefined
    const stored = storedIn(entry)
    if (!stored.packed) return found
    return {
      ...found,
      entry: {
        ...entry,
        body: await decoded(entry.body, 'gzip'),
        extra: { ...stored, packed: false },
      },
    }
  }

  async function originOf(
    { base, x }: Visit<Native>,
    { snapshot }: LookupResult,
  ): Promise<LogPosition | undefined> {
    const { nonce, sequence } = snapshot
    if (nonce !== undefined) return { nonce, sequence }
    try {
      return await base.ledger.open(0, x.budget)
    } catch (error) {
      engine.without(name, error)
      return undefined
    }
  }

  return {
    name: 'cache',
    ...(needsOnlyRequest && {
      prepare(x: Exchange<Native>) {
        if (!isGet(x)) return undefined
        if (
          obstacle(x, key) !== undefined ||
          x.isBackground ||
          (!isPublic && x.header('authorization') !== undefined)
        )
          return undefined
        const visit = new Visit(mount, x)
        if (Array.isArray(tags)) visit.tag(tags)
        return { visit, looking: visit.look() }
      },
      discard: ({ visit, looking }: Early<Native>) => visit.abandon(looking),
    }),
    handle,
  }
}
