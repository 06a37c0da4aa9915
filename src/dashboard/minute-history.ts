/** What was counted in the last half hour, minute by minute, for graphs. */
import { cacheRequestsOf } from '../operations/hit-rate.ts'
import { readMinute, type ReportSource } from '../operations/processes.ts'

/** One minute. */
export interface MinuteSummary {
  /** When it began, in ms since the epoch. */
  readonly at: number
  /** Requests that limits refused. */
  readonly refused: number
  /** Requests to caches that a cache could answer, and those that one answered. */
  readonly asked: number
  readonly answered: number
}

const MINUTE = 60_000
const MINUTES = 30
/** Processes report every ten seconds: the counts of the last minutes may still grow. */
const SETTLED_AFTER = 2

/** Keeps the minutes. Only those are read again that may still change. */
export class MinuteHistory {
  #known: readonly MinuteSummary[] = []

  /** Returns the last whole minutes, the oldest first. Sends no SCAN. */
  async read(source: ReportSource): Promise<readonly MinuteSummary[]> {
    const current = Math.floor(source.store.now() / MINUTE)
    const settled = (current - SETTLED_AFTER) * MINUTE
    const wanted = Array.from({ length: MINUTES }, (_, i) => (current - MINUTES + i) * MINUTE)
    const minutes = await Promise.all(
      wanted.map(async (at) => {
        const known = at < settled ? this.#known.find((each) => each.at === at) : undefined
        return known ?? summaryOf(at, await readMinute(source, at))
      }),
    )
    this.#known = minutes
    return minutes
  }
}

function summaryOf(at: number, counts: ReadonlyMap<string, number>): MinuteSummary {
  let refused = 0
  for (const [field, count] of counts)
    if (field.startsWith('limit:') && field.endsWith(':refused')) refused += count
  return { at, refused, ...cacheRequestsOf(counts) }
}
