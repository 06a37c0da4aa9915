/** The in-process twin of a sorted set of sessions by their expiry. */
import type { MemoryDatabase } from '../../store/store.ts'

interface Index {
  readonly scores: ReadonlyMap<string, number>
  /** When the whole key ends. */
  readonly until: number
}

/** Put a session into its user's index for `life` ms. */
export function enter(
  database: MemoryDatabase,
  key: string,
  member: string,
  life: number,
  now: number,
): void {
  const index = database.get<Index>(key)
  const until = Math.max(index?.until ?? 0, now + life)
  database.set(key, { scores: new Map(index?.scores).set(member, now + life), until }, until - now)
}

/** Take sessions out of an index. */
export function leave(
  database: MemoryDatabase,
  key: string,
  members: readonly string[],
  now: number,
): void {
  const index = database.get<Index>(key)
  if (!index || !members.some((member) => index.scores.has(member))) return
  const scores = new Map(index.scores)
  for (const member of members) scores.delete(member)
  if (scores.size === 0) database.delete(key)
  else database.set(key, { scores, until: index.until }, index.until - now)
}

/** Members and scores in the order of Redis: by score, then by their bytes. */
export function ordered(database: MemoryDatabase, key: string): [member: string, score: number][] {
  const scores = database.get<Index>(key)?.scores ?? new Map<string, number>()
  return [...scores].sort(([a, one], [b, other]) => one - other || (a < b ? -1 : 1))
}

/** How long an index lasts, ms; 0 if there is none. */
export const lifeOf = (database: MemoryDatabase, key: string, now: number): number =>
  Math.max(0, (database.get<Index>(key)?.until ?? 0) - now)

/** What not-before says: the moment (-1: nothing), and who is exempt. */
export function barIn(text: string | undefined): { at: number; exempt: string } {
  const [at = '-1', exempt = ''] = text?.split(' ') ?? []
  return { at: Number(at), exempt }
}

export const barOf = (database: MemoryDatabase, key: string): { at: number; exempt: string } =>
  barIn(database.get<string>(key))

/** The twins keep a session as Redis does, and when it ends. */
export interface Kept {
  readonly blob: string
  readonly until: number
}
