/** The in-process twin of a user's index (a sorted set of sessions by expiry) and of revoke-before. */
import type { MemoryDatabase } from '../../../store/store.ts'

interface UserIndex {
  readonly scores: ReadonlyMap<string, number>
  /** When the whole key expires. */
  readonly expiresAt: number
}

/** A session as the twins store it. */
export interface StoredText {
  readonly text: string
  readonly expiresAt: number
}

/**
 * Publishes that a session has changed, or all sessions of an index: the part of the key that begins
 * with its hash tag. What a client puts before all keys is not part of the message.
 */
export const publishChange = (database: MemoryDatabase, channel: unknown, key: string): void =>
  database.publish(String(channel), key.slice(key.lastIndexOf('{')))

/** Adds a session to its user's index for `life` ms. */
export function addToIndex(
  database: MemoryDatabase,
  key: string,
  digest: string,
  life: number,
  now: number,
): void {
  const index = database.get<UserIndex>(key)
  const expiresAt = Math.max(index?.expiresAt ?? 0, now + life)
  const scores = new Map(index?.scores).set(digest, now + life)
  database.set(key, { scores, expiresAt }, expiresAt - now)
}

/** Removes sessions from an index. */
export function removeFromIndex(
  database: MemoryDatabase,
  key: string,
  digests: readonly string[],
  now: number,
): void {
  const index = database.get<UserIndex>(key)
  if (!index || !digests.some((digest) => index.scores.has(digest))) return
  const scores = new Map(index.scores)
  for (const digest of digests) scores.delete(digest)
  if (scores.size === 0) database.delete(key)
  else database.set(key, { scores, expiresAt: index.expiresAt }, index.expiresAt - now)
}

/** Returns digests and scores in Redis's order: by score, then by bytes. */
export function entriesOf(
  database: MemoryDatabase,
  key: string,
): [digest: string, score: number][] {
  const scores = database.get<UserIndex>(key)?.scores ?? new Map<string, number>()
  return [...scores].sort(([a, one], [b, other]) => one - other || (a < b ? -1 : 1))
}

/** Returns an index's time to live in ms; 0 if there is none. */
export const timeToLive = (database: MemoryDatabase, key: string, now: number): number =>
  Math.max(0, (database.get<UserIndex>(key)?.expiresAt ?? 0) - now)

/** A user's sessions that were created by `at` are revoked, except the one with the digest `exempt`. */
export interface RevokeBefore {
  /** ms since the epoch; -1: nothing is revoked. */
  readonly at: number
  readonly exempt: string
}

/** Parses a stored `<ms>[ <digest>]`. */
export function parseRevokeBefore(text: string | undefined): RevokeBefore {
  const [at = '-1', exempt = ''] = text?.split(' ') ?? []
  return { at: Number(at), exempt }
}

export const revokeBeforeOf = (database: MemoryDatabase, key: string): RevokeBefore =>
  parseRevokeBefore(database.get<string>(key))
