/** Whether an entry may be used: pure functions of its deadlines and of the invalidation log. */
import type { CacheEntry } from './entry.ts'
import { matchesGlob } from '../store/glob.ts'

/** The sequences of the last hard and the last soft invalidation. 0: there was none. */
export interface InvalidationMark {
  readonly hard: number
  readonly soft: number
}

/** What a lookup read of the invalidation log. */
export interface LogSnapshot {
  /** Undefined if there is no log (yet, or any more). Then no entry is valid. */
  readonly nonce: string | undefined
  readonly sequence: number
  readonly everything: InvalidationMark
  readonly marks: ReadonlyMap<string, InvalidationMark>
  readonly patterns: readonly { readonly glob: string; readonly at: number }[]
}

/** The mark of a tag that was never invalidated. */
export const NO_MARK: InvalidationMark = { hard: 0, soft: 0 }

/** Reads a mark: `<hard>` or `<hard>,<soft>`. */
export function parseMark(text: string | null | undefined): InvalidationMark {
  if (!text) return NO_MARK
  const [hard = '0', soft = '0'] = text.split(',')
  return { hard: Number(hard), soft: Number(soft) }
}

const NO_PATTERNS: LogSnapshot['patterns'] = []

/** Reads the field of patterns: one line `<sequence> <pattern>` for each. */
function parsePatterns(text: string | null | undefined): LogSnapshot['patterns'] {
  if (!text) return NO_PATTERNS
  return text.split('\n').flatMap((line) => {
    const space = line.indexOf(' ')
    return space < 0 ? [] : [{ at: Number(line.slice(0, space)), glob: line.slice(space + 1) }]
  })
}

/** Reads the values of `logFieldsFor(tags)`. */
export function parseSnapshot(
  tags: readonly string[],
  values: readonly (string | null)[],
): LogSnapshot {
  const [nonce, sequence, everything, patterns] = values
  const marks = new Map<string, InvalidationMark>()
  for (let i = 0; i < tags.length; i++) marks.set(tags[i]!, parseMark(values[FIRST_MARK + i]))
  return {
    nonce: nonce ?? undefined,
    sequence: Number(sequence),
    everything: parseMark(everything),
    marks,
    patterns: parsePatterns(patterns),
  }
}

/** Position of the first tag's mark among the values, after those that every snapshot has. */
const FIRST_MARK = 4

/** Returns whether a snapshot has read the marks of these tags. */
export const hasMarksOf = ({ marks }: LogSnapshot, tags: readonly string[]): boolean =>
  tags.every((tag) => marks.has(tag))

/**
 * Returns until when the invalidations leave an entry valid: Infinity if none has hit it, the time
 * of a soft one that expired it, undefined if it must not be used at all.
 *
 * @param now the sequence may run ahead of the clock. A soft invalidation expires an entry at once.
 */
export function validUntil(
  entry: CacheEntry,
  snapshot: LogSnapshot,
  now: number,
): number | undefined {
  const { nonce, sequence, everything, marks, patterns } = snapshot
  // Another nonce: the log was lost. A sequence from the future: a failover has turned the log back.
  if (nonce !== entry.nonce || entry.sequence > sequence) return undefined
  if (everything.hard > entry.sequence) return undefined
  let soft = everything.soft > entry.sequence ? everything.soft : Infinity
  for (const tag of entry.tags) {
    const mark = marks.get(tag)
    if (mark === undefined || mark.hard > entry.sequence) return undefined
    if (mark.soft > entry.sequence && mark.soft < soft) soft = mark.soft
  }
  if (patterns.some(({ glob, at }) => at > entry.sequence && matchesGlob(glob, entry.name)))
    return undefined
  return soft === Infinity ? soft : Math.min(soft, now)
}

/** When an entry stops being fresh, being served stale, and being served instead of an error. */
export interface Deadlines {
  readonly fresh: number
  readonly stale: number
  readonly error: number
}

/** Returns the deadlines of an entry that is valid until a given time. A soft invalidation moves all three. */
export function deadlinesOf(entry: CacheEntry, valid: number): Deadlines {
  const fresh = Math.min(entry.freshUntil, valid)
  const shift = entry.freshUntil - fresh
  return { fresh, stale: entry.staleUntil - shift, error: entry.errorUntil - shift }
}

/**
 * What an entry may be used for: served; served while it is revalidated; served only instead of an
 * error; only to ask the handler if it is still current; nothing.
 */
export type EntryState = 'fresh' | 'stale' | 'error-only' | 'revalidate-only' | 'unusable'

/** An entry, until when it is valid, and the time. */
interface JudgedEntry {
  readonly entry: CacheEntry | undefined
  readonly validUntil: number | undefined
  readonly now: number
}

/** Returns what the entry that a lookup found may be used for. */
export function entryState({ entry, validUntil, now }: JudgedEntry): EntryState {
  if (entry === undefined || validUntil === undefined) return 'unusable'
  const { fresh, stale, error } = deadlinesOf(entry, validUntil)
  if (now < fresh) return 'fresh'
  if (now < stale) return 'stale'
  if (now < error) return 'error-only'
  return now < entry.keptUntil ? 'revalidate-only' : 'unusable'
}
