/** Waiting for whoever makes a response already, in this process or another. */
import type { CacheEntry } from '../../caching/entry.ts'
import type { Flight } from '../../caching/single-flight.ts'
import type { LookupResult } from '../../caching/entry-keys.ts'
import type { CacheStore } from '../../caching/cache-store.ts'
import { worthOf } from './engine.ts'
import { isAcceptable } from './reply.ts'
import type { Visit } from './visit.ts'

/** What comes of waiting: somebody else's answer, or the turn of the request's own handler. */
export type Turn =
  | { readonly shared: Pick<LookupResult, 'entry' | 'validUntil' | 'now'> }
  | {
      readonly found: LookupResult | undefined
      /** Whoever waits for this request; undefined: nobody, and nobody shall. */
      readonly flight: Flight | undefined
    }

/** Wait for whoever makes the response already, if anybody may wait for anybody here. */
export async function turnOf<Native>(
  visit: Visit<Native>,
  found: LookupResult | undefined,
): Promise<Turn> {
  const { x, engine, mount, base } = visit
  const { flights } = engine.shelf
  const { entry } = visit.place
  if (x.method === 'HEAD' || mount.wait === 0 || engine.passes(entry))
    return { found, flight: undefined }
  const current = flights.get(entry)
  // It may have ended while the lookup was on its way: that saw no entry, and asked for no lease.
  const under = current ?? visit.under
  const mayJoin = under && (found ? !under.alone : under.alone && under.epoch === base.ledger.epoch)
  if (mayJoin && found?.lease !== 'ours') {
    const landed = await within(engine.shelf, under.landing, mount.wait)
    const share = await shareOf(visit, landed, found)
    if (share || current) return share ?? { found, flight: undefined }
    visit.under = undefined
    return await turnOf(visit, found)
  }
  // Replies may come in another order than the leases were given: who waits for another process may
  // be waiting for this one.
  const former = mayJoin ? current : undefined
  const flight = flights.begin(entry, base.ledger.epoch, found === undefined, former)
  if (found?.lease !== 'theirs') return { found, flight }
  try {
    return await afterOthers(visit, found, flight)
  } catch (error) {
    flight.end()
    throw error
  }
}

/** Wait for another process, on behalf of all that wait here. */
async function afterOthers<Native>(
  visit: Visit<Native>,
  found: LookupResult,
  flight: Flight,
): Promise<Turn> {
  const { engine, x } = visit
  const { entry } = visit.place
  let landed: { entry: CacheEntry | undefined } | undefined
  const over = flight.landing.then(
    (entry) => void (landed = { entry }),
    () => void (landed = { entry: undefined }),
  )
  const later = await elsewhere(visit, found, over, () => landed !== undefined)
  if (landed) {
    const share = await shareOf(visit, landed.entry, found)
    if (share) visit.giveBack()
    return share ?? { found: later, flight: undefined }
  }
  if (worthOf(later) === 'fresh' && isAcceptable(later.entry!, x)) {
    visit.giveBack()
    flight.land(later.entry)
    flight.end()
    return { shared: later }
  }
  if (!engine.passes(entry)) return { found: later, flight }
  // What cannot be kept is everybody's own: nobody waits for this request, either.
  flight.end()
  return { found: later, flight: undefined }
}

/** A landed entry as this request's answer, or undefined. */
async function shareOf<Native>(
  visit: Visit<Native>,
  entry: CacheEntry | undefined,
  found: LookupResult | undefined,
): Promise<Turn | undefined> {
  if (!entry || !(await visit.mayShare(entry, found))) return undefined
  return { shared: { entry, validUntil: Infinity, now: visit.now } }
}

/** What a promise comes to; undefined when that takes longer than `ms`. */
async function within(
  { store }: CacheStore,
  landing: Promise<CacheEntry | undefined>,
  ms: number,
): Promise<CacheEntry | undefined> {
  const over = new AbortController()
  const late = store.sleep(ms, over.signal).then(
    () => undefined,
    () => undefined,
  )
  try {
    return await Promise.race([landing, late])
  } finally {
    over.abort()
  }
}

/** Gives what there is after another process's turn, or the lease, or what was there before. */
async function elsewhere<Native>(
  visit: Visit<Native>,
  first: LookupResult,
  over: Promise<undefined>,
  isOver: () => boolean,
): Promise<LookupResult> {
  const { engine, mount, place } = visit
  const { leases } = engine.shelf
  // Patience is this process's own: a store's clock that is turned by hand would never end it.
  const until = performance.now() + mount.wait
  let found = first
  for (let pause = 25; ; pause = Math.min(pause * 2, 250)) {
    const left = until - performance.now()
    if (left <= 0) return found
    const ms = Math.min(left, pause * (0.5 + Math.random()))
    const outcome = await leases.wait(place.lease, ms, over)
    if (outcome === 'passed') engine.markPass(place.entry)
    if (isOver() || engine.passes(place.entry)) return found
    try {
      found = await visit.look(found)
    } catch (error) {
      engine.without(mount.name, error)
      return found
    }
    // What was filled and is invalid again already: waiting for the next would not end while others write.
    if (outcome === 'filled' || found.lease === 'ours' || worthOf(found) === 'fresh') return found
  }
}
