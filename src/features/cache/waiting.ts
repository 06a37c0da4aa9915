/** Waiting for whoever makes a response already. */
import type { Entry } from '../../caching/entry.ts'
import type { Found, Shelf } from '../../caching/shelf.ts'
import { worthOf } from './engine.ts'
import type { Visit } from './visit.ts'

/** What a promise comes to; undefined when that takes longer than `ms`. */
export async function within(
  { store }: Shelf,
  landing: Promise<Entry | undefined>,
  ms: number,
): Promise<Entry | undefined> {
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

/** Wait for another process; gives what there is then, or the lease. */
export async function elsewhere<Native>(visit: Visit<Native>): Promise<Found | undefined> {
  const { engine, mount } = visit
  const { leases } = engine.shelf
  // Patience is this process's own: a store's clock that is turned by hand would never end it.
  const until = performance.now() + mount.lockWait
  let found: Found | undefined
  for (let pause = 25; ; pause = Math.min(pause * 2, 250)) {
    const left = until - performance.now()
    if (left <= 0) return found
    const outcome = await leases.wait(
      visit.place.lease,
      Math.min(left, pause * (0.5 + Math.random())),
    )
    if (outcome === 'passed') {
      engine.markPass(visit.place.entry)
      return found
    }
    try {
      found = await visit.look(true)
    } catch (error) {
      engine.without(mount.name, error)
      return found
    }
    // What was filled and is invalid again already: waiting for the next would not end while others write.
    if (outcome === 'filled' || found.lease === 'ours' || worthOf(found) === 'fresh') return found
  }
}
