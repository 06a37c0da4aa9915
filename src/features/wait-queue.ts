/** In-process twin of wait-queue.lua: a fair queue of waiters. */
import type { MemoryDatabase } from '../store/store.ts'

interface Place {
  owner: string
  /** Time until which the waiter counts as present, in ms since the epoch. */
  aliveUntil: number
}

/** The key outlives the last place by this, in ms. */
const SPARE = 60_000

/** Returns the queue under `key`, without the waiters that have not asked again in time. */
export const queueOf = (database: MemoryDatabase, key: string, now: number): readonly Place[] =>
  (database.get<readonly Place[]>(key) ?? []).filter(({ aliveUntil }) => aliveUntil > now)

/** Adds `owner` to the queue, or renews its place. Returns the number of waiters before it. */
export function enqueue(
  database: MemoryDatabase,
  key: string,
  owner: string,
  ttl: number,
  now: number,
): number {
  const queue = queueOf(database, key, now)
  const mine: Place = { owner, aliveUntil: now + ttl }
  const rank = queue.findIndex((place) => place.owner === owner)
  setQueue(database, key, rank < 0 ? [...queue, mine] : queue.with(rank, mine), now)
  return rank < 0 ? queue.length : rank
}

export function dequeue(database: MemoryDatabase, key: string, owner: string, now: number): void {
  const queue = database.get<readonly Place[]>(key) ?? []
  const rest = queue.filter((place) => place.owner !== owner)
  setQueue(database, key, rest, now)
}

/** Publishes that a lease is free: the owner that released it, and the first waiter of the queue. */
export function notify(
  database: MemoryDatabase,
  key: string,
  owner: string,
  channel: string,
  now: number,
): void {
  const queue = queueOf(database, key, now)
  setQueue(database, key, queue, now)
  database.publish(channel, `${owner}>${queue[0]?.owner ?? ''}`)
}

function setQueue(
  database: MemoryDatabase,
  key: string,
  queue: readonly Place[],
  now: number,
): void {
  if (queue.length === 0) return void database.delete(key)
  const longest = Math.max(1, ...queue.map(({ aliveUntil }) => aliveUntil - now))
  database.set(key, queue, longest + SPARE)
}
