/** Has an entry been hit by an invalidation? Pure functions over what was read of the record. */
import type { CacheEntry } from './entry.ts'
import { matchesGlob } from '../store/glob.ts'

/** When something was last invalidated, by the sequence; 0: never. */
export interface InvalidationMark {
  readonly hard: number
  readonly soft: number
}

/** What a lookup read of the record of invalidations. */
export interface LogSnapshot {
  /** Undefined: there is no record (yet, or any more), and no entry is valid. */
  readonly nonce: string | undefined
  readonly sequence: number
  readonly everything: InvalidationMark
  readonly marks: ReadonlyMap<string, InvalidationMark>
  readonly globs: readonly { readonly glob: string; readonly at: number }[]
}

const NEVER: InvalidationMark = { hard: 0, soft: 0 }

/** A field of the record: `<hard>` or `<hard>,<soft>`. */
export function parseMark(text: string | null | undefined): InvalidationMark {
  if (!text) return NEVER
  const [hard = '0', soft = '0'] = text.split(',')
  return { hard: Number(hard), soft: Number(soft) }
}

/** The field of patterns: a line `<sequence> <pattern>` for each. */
export const parsePatterns = (text: string | null | undefined): LogSnapshot['globs'] =>
  (text ?? '').split('\n').flatMap((line) => {
    const space = line.indexOf(' ')
    return space < 0 ? [] : [{ at: Number(line.slice(0, space)), glob: line.slice(space + 1) }]
  })

/** What was read, by `fieldsOf`. */
export function parseSnapshot(
  tags: readonly string[],
  [nonce, sequence, everything, globs, ...marks]: readonly (string | null)[],
): LogSnapshot {
  return {
    nonce: nonce ?? undefined,
    sequence: Number(sequence),
    everything: parseMark(everything),
    marks: new Map(tags.map((tag, i) => [tag, parseMark(marks[i])])),
    globs: parsePatterns(globs),
  }
}

/** The tags of an entry that a snapshot knows nothing of. */
export const tagsMissingFrom = ({ marks }: LogSnapshot, tags: readonly string[]): string[] =>
  tags.filter((tag) => !marks.has(tag))

/**
 * What the invalidations have left of an entry: undefined if it may not be used at all; Infinity if
 * none has hit it; else when it was expired by a soft one.
 *
 * @param now the sequence may run ahead of the clock: what was expired is so now
 */
export function validUntil(
  entry: CacheEntry,
  snapshot: LogSnapshot,
  now: number,
): number | undefined {
  const { nonce, sequence, everything, marks, globs } = snapshot
  // Another record: its predecessor was lost. A sequence from the future: a failover has turned it back.
  if (nonce !== entry.nonce || entry.sequence > sequence) return undefined
  if (everything.hard > entry.sequence) return undefined
  let soft = everything.soft > entry.sequence ? everything.soft : Infinity
  for (const tag of entry.tags) {
    const mark = marks.get(tag)
    if (mark === undefined || mark.hard > entry.sequence) return undefined
    if (mark.soft > entry.sequence && mark.soft < soft) soft = mark.soft
  }
  const until = soft === Infinity ? soft : Math.min(soft, now)
  if (globs.some(({ glob, at }) => at > entry.sequence && matchesGlob(glob, entry.name)))
    return undefined
  return until
}
