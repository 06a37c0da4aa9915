/** What becomes of a request once its entry was looked up: a reply, or a turn of the handler. */
import type { LookupResult } from '../../caching/entry-keys.ts'
import { Fill, type SharedEntry } from '../../caching/fill.ts'
import { takeTurn } from '../../caching/fill-turn.ts'
import { deadlinesOf, entryState } from '../../caching/validity.ts'
import type { Plan, Reply } from '../../http/exchange.ts'
import { isPromise } from '../../http/promises.ts'
import { bypassPlan } from './bypass-plan.ts'
import type { CacheLookup } from './cache-lookup.ts'
import { responseIn } from './cached-response.ts'
import { directivesOf, type Directives } from './directives.ts'
import type { CacheOutcome } from './engine.ts'
import { fillByHandler } from './handler-fill.ts'
import { outerFillsOf, tellOuterFills } from './nesting.ts'
import type { CacheReason } from './reasons.ts'
import { decideFor, isEarlyRefresh, refreshInBackground } from './refresh.ts'
import { ageOf, replyFrom } from './reply.ts'
import { notCached, satisfies } from './request-directives.ts'
import { isNeverFresh } from './response-entry.ts'
import type { Forward } from './response-fill.ts'

/** Serves what was found, or has it filled. It is a promise only if there is something to wait for. */
export function serve<Native>(
  lookup: CacheLookup<Native>,
  first: LookupResult,
): Plan | Promise<Plan> {
  const { x, sender, mount } = lookup
  // What the client asks for counts only with `auto`.
  const asked =
    mount.options.ttl === 'auto'
      ? directivesOf(x.header('cache-control') ?? x.header('pragma'))
      : undefined
  if (entryState(first) === 'fresh') {
    if (lookup.isUsable(first)) return serveFresh(lookup, first, asked)
    // What is stored is for anonymous requests: the responses are not public any more.
    if (sender !== undefined) return bypassPersonal(lookup, sender)
  }
  return serveStale(lookup, first, asked)
}

/** Serves what is not fresh, or not for this request, or has it filled. */
async function serveStale<Native>(
  lookup: CacheLookup<Native>,
  first: LookupResult,
  asked: Directives | undefined,
): Promise<Plan> {
  const { x, engine, keys } = lookup
  if (asked?.has('only-if-cached')) return gatewayTimeout(lookup)
  if (x.method === 'HEAD' || x.isRefresh) return await takeFillTurn(lookup, first, 'miss')
  if (first.entry !== undefined && isNeverFresh(first.entry)) engine.pause(keys.entry)
  // Asked once. The flight may end at any moment, and then the entry is there.
  const hasFlight = engine.cacheStore.singleFlight.get(keys.entry) !== undefined
  // A pattern or an unknown tag has hit the entry. The script did not see that, and gave no lease.
  const isClaimed = first.entry !== undefined && first.lease === 'none' && !hasFlight
  const found = isClaimed ? await claim(lookup, first) : first
  const state = entryState(found)
  if (lookup.isUsable(found) && asked?.has('no-cache') !== true) {
    const decision = decideFor(lookup, found, hasFlight)
    const outcome = state === 'fresh' ? 'hit' : 'stale'
    if (decision === 'serve') return await hit(lookup, found, outcome)
    if (decision === 'refresh' && refreshInBackground(lookup, found))
      return await hit(lookup, found, outcome)
  }
  return await takeFillTurn(lookup, found, state === 'unusable' ? 'miss' : 'stale')
}

function bypass<Native>(lookup: CacheLookup<Native>, reason: CacheReason): Plan {
  lookup.release()
  return bypassPlan(lookup.mount, reason)
}

function bypassPersonal<Native>(lookup: CacheLookup<Native>, sender: CacheReason): Plan {
  const { engine, mount, resourceKeys } = lookup
  lookup.release()
  engine.publicResources.delete(resourceKeys.entry)
  engine.markPersonal(resourceKeys.entry)
  return bypassPlan(mount, sender, resourceKeys.entry)
}

function serveFresh<Native>(
  lookup: CacheLookup<Native>,
  found: LookupResult & SharedEntry,
  asked: Directives | undefined,
): Plan | Promise<Plan> {
  if (!asked || satisfies(found, asked)) {
    if (isEarlyRefresh(lookup.mount, found)) refreshEarly(lookup, found)
    return hit(lookup, found, found.near ? 'near' : 'hit')
  }
  if (asked.has('only-if-cached')) return gatewayTimeout(lookup)
  const fill = new Fill(lookup.engine.cacheStore, lookup.keys, '', undefined)
  return fillByHandler(lookup, found, fill, 'request')
}

function gatewayTimeout<Native>(lookup: CacheLookup<Native>): Plan {
  lookup.release()
  return notCached(lookup.x)
}

function refreshEarly<Native>(
  lookup: CacheLookup<Native>,
  found: LookupResult & SharedEntry,
): void {
  if (lookup.engine.cacheStore.singleFlight.get(lookup.keys.entry)) return
  void claim(lookup, found).then(
    ({ lease }) => {
      if (lease === 'ours' && !refreshInBackground(lookup, { ...found, lease })) lookup.release()
    },
    () => {},
  )
}

/** Takes the lease of an entry that is stored, if requests may wait for it. */
async function claim<Native>(
  lookup: CacheLookup<Native>,
  found: LookupResult,
): Promise<LookupResult> {
  if (!lookup.mayWait()) return found
  return (await lookup.lookupAgain(found)) ?? found
}

function hit<Native>(
  lookup: CacheLookup<Native>,
  { entry, validUntil, now }: SharedEntry,
  outcome: CacheOutcome,
): Plan | Promise<Plan> {
  lookup.release()
  const { x, owner, engine, mount } = lookup
  if (outerFillsOf(x.native).length > 0)
    tellOuterFills(x.native, { tags: entry.tags, vary: responseIn(entry).vary, owner })
  const ttl = Math.floor((deadlinesOf(entry, validUntil ?? Infinity).fresh - now) / 1000)
  const status = outcome === 'collapsed' ? 'fwd=miss; collapsed' : `hit; ttl=${ttl}`
  const added = { 'Cache-Status': `turnpike; ${status}`, Age: String(ageOf(entry, now)) }
  const send = (reply: Reply): Plan => {
    engine.count(mount.name, outcome, lookup.keys.entry, undefined, lookup.began)
    return { reply }
  }
  const reply = replyFrom(entry, x, added)
  // A rejection: the stored body is broken or too large to decode.
  return isPromise(reply) ? reply.then(send, () => bypass(lookup, 'coding')) : send(reply)
}

/** Waits for another request or process that fills the entry, or lets the handler fill it. */
export async function takeFillTurn<Native>(
  lookup: CacheLookup<Native>,
  found: LookupResult | undefined,
  forward: Forward,
): Promise<Plan> {
  if (lookup.isWithinOwnFill) return bypass(lookup, 'loop')
  const turn = await takeTurn(lookup.engine.cacheStore, lookup, found)
  return 'shared' in turn
    ? await hit(lookup, turn.shared, 'collapsed')
    : await fillByHandler(lookup, turn.found, turn.fill, forward)
}

/** Lets a background request fill the entry. @param token of the lease that its sender holds */
export async function refill<Native>(
  lookup: CacheLookup<Native>,
  found: LookupResult | undefined,
  token: string,
): Promise<Plan> {
  const { keys, engine } = lookup
  const flight = engine.cacheStore.singleFlight.begin(keys.entry, keys.log.epoch, false)
  return await fillByHandler(
    lookup,
    found,
    new Fill(engine.cacheStore, keys, token, flight),
    'stale',
  )
}
