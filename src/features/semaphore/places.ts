/** The places of a semaphore, as the in-process engine keeps them. */
import type { MemoryDatabase } from '../../store/store.ts'

/** Owner -> end of the lease, ms since the epoch. */
export type Places = ReadonlyMap<string, number>

export const placesOf = (database: MemoryDatabase, key: string): Map<string, number> =>
  new Map(database.get<Places>(key))

export function keepPlaces(
  database: MemoryDatabase,
  key: string,
  places: Places,
  now: number,
): void {
  if (places.size === 0) return void database.delete(key)
  database.set(key, places, Math.max(1, Math.max(...places.values()) - now))
}
