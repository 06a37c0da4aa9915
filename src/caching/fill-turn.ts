/** Waiting for another request or process that fills an entry. */
import type { CacheStore } from './cache-store.ts'
import type { CacheEntry } from './entry.ts'
import type { LookupResult } from './entry-keys.ts'
import { decideFill, Fill, type FillAttempt, type Turn } from './fill.ts'
import type { InvalidationLog } from './invalidation-log.ts'
import type { Flight, FlightOutcome } from './single-flight.ts'
import type { RequestBudget } from '../request-budget.ts'
import { entryState, hasMarksOf } from './validity.ts'

/**
 * Waits for others where that is possible, until an entry is there or the attempt fills it itself.
 * @throws the error of a fill that was joined
 */
export async function takeTurn(
  store: CacheStore,
  attempt: FillAttempt,
  first: LookupResult | undefined,
): Promise<Turn> {
  // By this machine's clock. A store's clock that a test turns by hand would never end the wait.
  const until = performance.now() + attempt.waitMs
  let found = first
  for (;;) {
    const flight = joinableFlight(store, attempt, found)
    const mayWait = attempt.mayWait() && performance.now() < until
    const decision = decideFill({
      entry: 'unusable',
      lease: found?.lease ?? 'none',
      hasFlight: flight !== undefined,
      mayWait,
      backsOff: false,
    })
    if (decision !== 'join' && decision !== 'wait') {
      const own = mayWait ? beginFlight(store, attempt, found, flight) : undefined
      return fillWith(store, attempt, found, own)
    }
    const step: Step =
      decision === 'join'
        ? await join(store, attempt, found, flight!, until)
        : await waitForLease(store, attempt, found!, until)
    if ('turn' in step) return step.turn
    found = step.found
  }
}

/** Where a wait led to: its end, or another decision. */
type Step = { readonly turn: Turn } | { readonly found: LookupResult | undefined }

/** Returns the flight that an attempt may join: both know the same of other processes' invalidations. */
function joinableFlight(
  { singleFlight }: CacheStore,
  { keys, flight: atLookup }: FillAttempt,
  found: LookupResult | undefined,
): Flight | undefined {
  const flight = singleFlight.get(keys.entry) ?? atLookup
  if (flight === undefined) return undefined
  const isJoinable = found
    ? !flight.isWithoutStore
    : flight.isWithoutStore && flight.epoch === keys.log.epoch
  return isJoinable ? flight : undefined
}

/** @param other a flight that may be joined; its waiters join the new one */
function beginFlight(
  { singleFlight }: CacheStore,
  { keys }: FillAttempt,
  found: LookupResult | undefined,
  other?: Flight,
): Flight {
  const replaced = other === singleFlight.get(keys.entry) ? other : undefined
  return singleFlight.begin(keys.entry, keys.log.epoch, found === undefined, replaced)
}

function fillWith(
  store: CacheStore,
  attempt: FillAttempt,
  found: LookupResult | undefined,
  flight?: Flight,
): Turn {
  return { fill: new Fill(store, attempt.keys, takeToken(attempt), flight), found }
}

function takeToken(attempt: FillAttempt): string {
  const { token } = attempt
  attempt.token = ''
  return token
}

/**
 * Returns whether an entry that another attempt filled is fresh, and not older than an invalidation
 * that came before this attempt's lookup.
 * @param found undefined: the store did not reply to the lookup
 * @throws TP_UNAVAILABLE if the log has to be read, and cannot be
 */
export async function isValidSince(
  log: InvalidationLog,
  entry: CacheEntry,
  found: LookupResult | undefined,
  now: number,
  budget?: RequestBudget,
): Promise<boolean> {
  if (log.isPending(entry)) return false
  if (!found) return true
  if (now >= entry.freshUntil) return false
  let { snapshot } = found
  if (snapshot.nonce === entry.nonce && entry.sequence >= snapshot.sequence) return true
  // Without a log at the lookup: the fill has created it, or it was lost during the fill.
  if (snapshot.nonce === undefined || !hasMarksOf(snapshot, entry.tags))
    snapshot = await log.read(entry.tags, budget)
  return log.validity(entry, snapshot) === Infinity
}

/** Releases a lease that the attempt does not need. */
export function releaseLease({ leases }: CacheStore, attempt: FillAttempt): void {
  const token = takeToken(attempt)
  if (token !== '') leases.release(attempt.keys.lease, token)
}

async function join(
  store: CacheStore,
  attempt: FillAttempt,
  found: LookupResult | undefined,
  flight: Flight,
  until: number,
): Promise<Step> {
  const isCurrent = store.singleFlight.get(attempt.keys.entry) === flight
  const outcome = await within(flight.outcome, until - performance.now())
  attempt.flight = undefined
  const step = await follow(store, attempt, found, outcome)
  if (step) return step
  // A flight that had ended before the wait is no reason to run without a flight of its own.
  return isCurrent ? { turn: fillWith(store, attempt, found) } : { found }
}

/** Returns where an outcome leads a waiter. Undefined: it runs its own handler. */
async function follow(
  store: CacheStore,
  attempt: FillAttempt,
  found: LookupResult | undefined,
  outcome: FlightOutcome | undefined,
): Promise<Step | undefined> {
  if (outcome?.type === 'abandoned') {
    const { lease } = outcome
    if (lease.token === '' || found === undefined) return { found }
    releaseLease(store, attempt)
    attempt.token = lease.token
    lease.token = ''
    return { found: { ...found, lease: 'ours' } }
  }
  if (outcome?.type !== 'filled') return undefined
  const { entry } = outcome
  const acceptance = await attempt.accepts(entry, found)
  if (acceptance === 'no') return undefined
  releaseLease(store, attempt)
  if (acceptance === 'yes')
    return { turn: { shared: { entry, validUntil: Infinity, now: store.store.now() } } }
  return await serveIfFresh(store, attempt, await attempt.lookupAgain(undefined))
}

/** Ends the wait if a lookup has found an entry to serve. */
async function serveIfFresh(
  store: CacheStore,
  attempt: FillAttempt,
  found: LookupResult | undefined,
): Promise<Step> {
  const entry = found?.entry
  if (!found || !entry || entryState(found) !== 'fresh') return { found }
  if ((await attempt.accepts(entry, undefined)) !== 'yes') return { found }
  releaseLease(store, attempt)
  return { turn: { shared: { entry, validUntil: found.validUntil, now: found.now } } }
}

/** Waits for another process, on behalf of all requests of this process that want the entry. */
async function waitForLease(
  store: CacheStore,
  attempt: FillAttempt,
  found: LookupResult,
  until: number,
): Promise<Step> {
  const flight = beginFlight(store, attempt, found)
  let outcome: FlightOutcome | undefined
  // Another request of this process may get the lease, and replace this flight.
  const over = flight.outcome.then(
    (known) => void (outcome = known),
    () => void (outcome = { type: 'refused' }),
  )
  const end = (result: FlightOutcome): void => {
    store.singleFlight.end(flight)
    flight.settle(result)
  }
  try {
    const isOver = (): boolean => outcome !== undefined
    const later = await pollLease(store, attempt, found, until, over, isOver)
    if (outcome !== undefined) {
      const step = await follow(store, attempt, later, outcome)
      return step ?? { turn: fillWith(store, attempt, later) }
    }
    const step = await serveIfFresh(store, attempt, later)
    if ('turn' in step) {
      if ('shared' in step.turn) end({ type: 'filled', entry: step.turn.shared.entry })
      return step
    }
    if (attempt.mayWait()) return { turn: fillWith(store, attempt, later, flight) }
    end({ type: 'refused' })
    return { turn: fillWith(store, attempt, later) }
  } catch (error) {
    end({ type: 'refused' })
    throw error
  }
}

/** The pauses between lookups, in ms: a message about the lease may be missed. */
const FIRST_PAUSE = 25
const MAX_PAUSE = 250

/** Looks an entry up until it is there, the lease is free, or the time is over. */
async function pollLease(
  { leases }: CacheStore,
  attempt: FillAttempt,
  first: LookupResult,
  until: number,
  over: Promise<undefined>,
  isOver: () => boolean,
): Promise<LookupResult> {
  let found = first
  for (let pause = FIRST_PAUSE; ; pause = Math.min(pause * 2, MAX_PAUSE)) {
    const left = until - performance.now()
    if (left <= 0) return found
    const ms = Math.min(left, pause * (0.5 + Math.random()))
    const message = await leases.wait(attempt.keys.lease, ms, over)
    if (message === 'refused') attempt.onRefused()
    if (isOver() || !attempt.mayWait()) return found
    const later = await attempt.lookupAgain(found)
    if (later === undefined) return found
    found = later
    // An entry that is invalid again already ends the wait. It would not end while others write.
    if (message === 'filled' || found.lease === 'ours' || entryState(found) === 'fresh')
      return found
  }
}

/** Returns the value of a promise, or undefined if it takes longer than `ms`. */
async function within<Value>(promise: Promise<Value>, ms: number): Promise<Value | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => (timer = setTimeout(resolve, ms, undefined)))
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
