/** The twin of line.lua: a line of waiters in order of arrival. */
import type { MemoryDatabase } from '../store/store.ts'

interface Place {
  owner: string
  /** Until when it counts as still there, in ms. */
  sign: number
}

const SPARE = 60_000

/** The line under `places`, without those who gave no sign of life. */
export const queueOf = (database: MemoryDatabase, places: string, now: number): readonly Place[] =>
  (database.get<readonly Place[]>(places) ?? []).filter(({ sign }) => sign > now)

/** Takes a place for `owner`, or keeps it. Gives how many stand before it. */
export function enqueue(
  database: MemoryDatabase,
  places: string,
  owner: string,
  patience: number,
  now: number,
): number {
  const line = queueOf(database, places, now)
  const mine: Place = { owner, sign: now + patience }
  const rank = line.findIndex((place) => place.owner === owner)
  const next = rank < 0 ? [...line, mine] : line.with(rank, mine)
  keepLine(database, places, next, now)
  return rank < 0 ? line.length : rank
}

export function leaveQueue(
  database: MemoryDatabase,
  places: string,
  owner: string,
  now: number,
): void {
  const line = database.get<readonly Place[]>(places) ?? []
  keepLine(
    database,
    places,
    line.filter((place) => place.owner !== owner),
    now,
  )
}

/** Says that something is free: who made it so, and whose turn it is, if there is a line. */
export function notifyNext(
  database: MemoryDatabase,
  places: string,
  owner: string,
  channel: string,
  now: number,
): void {
  const line = queueOf(database, places, now)
  keepLine(database, places, line, now)
  database.publish(channel, `${owner}>${line[0]?.owner ?? ''}`)
}

function keepLine(
  database: MemoryDatabase,
  places: string,
  line: readonly Place[],
  now: number,
): void {
  if (line.length === 0) return void database.delete(places)
  database.set(places, line, Math.max(1, ...line.map(({ sign }) => sign - now)) + SPARE)
}
