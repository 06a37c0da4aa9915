/** Families of refresh tokens, as the in-process engine keeps them. See family.lua. */
import type { MemoryDatabase } from '../../../store/store.ts'

/** A token that was used, and how its successor was made. */
interface EarlierToken {
  readonly token: string
  readonly salt: string
  readonly used: number
}

export interface Family {
  isAlive: boolean
  readonly began: number
  readonly last: number
  ends: number
  used: number
  token: string
  earlier: readonly EarlierToken[]
  readonly user: string
  data: string
}

/** Number of used tokens that are remembered during their grace. */
export const MAX_EARLIER = 8

/** Returns a user's families by handle: a copy. */
export const familiesAt = (database: MemoryDatabase, key: string): Map<string, Family> =>
  new Map(database.get<ReadonlyMap<string, Family>>(key))

export function keepFamilies(
  database: MemoryDatabase,
  key: string,
  families: ReadonlyMap<string, Family>,
  now: number,
): void {
  if (families.size === 0) return void database.delete(key)
  const ends = [...families.values()].map((family) => family.ends)
  database.set(key, families, Math.max(1, Math.max(...ends) - now))
}

export function findFamily(
  families: ReadonlyMap<string, Family>,
  handle: string,
  now: number,
): Family | undefined {
  const family = families.get(handle)
  return family !== undefined && family.ends > now ? { ...family } : undefined
}
