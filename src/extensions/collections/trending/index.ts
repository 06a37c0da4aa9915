/** Trending lists: `trending()`. */
import { durationValidator, type Duration } from '../../../duration.ts'
import type { ExtensionContext } from '../../../extension.ts'
import { integer, validateOptions, type Validator } from '../../../validate.ts'
import {
  optionsOfCall,
  Collection,
  type CollectionCallOptions,
  type ItemId,
} from '../collection.ts'
import { hitTrend, readTrends, removeTrend, SCORE_UNIT } from './operations.ts'

/** Options of `trending()`. */
export interface TrendingOptions {
  /** After this time a hit counts half. At least a second. @default '1h' */
  halfLife?: Duration
  /** Most IDs. The lowest ones are removed. @default 1000 */
  max?: number
}

/** An ID on a trending list. */
export interface Trend {
  /** ID of the item. */
  readonly id: string
  /** Hits, each halved once for every half-life since. */
  readonly score: number
}

/** IDs by hits that decay. Each call costs one round trip, and rejects with TP_UNAVAILABLE while Redis is away. */
export interface Trending {
  /**
   * Counts a hit.
   * @param options.weight for how many hits it counts, an integer. Default: 1
   * @throws TP_KEY, TP_VALUE, TP_UNAVAILABLE
   */
  hit(id: ItemId, options?: CollectionCallOptions & { weight?: number }): Promise<void>
  /** Returns up to `count` IDs, the highest score first. @throws TP_VALUE, TP_UNAVAILABLE */
  top(count: number, options?: CollectionCallOptions): Promise<Trend[]>
  /** Removes an ID. Returns true if it was on the list. @throws TP_KEY, TP_UNAVAILABLE */
  remove(id: ItemId, options?: CollectionCallOptions): Promise<boolean>
}

const OPTIONS: Record<string, Validator> = {
  halfLife: durationValidator,
  max: integer(1, 100_000),
}
const HIT_OPTIONS = optionsOfCall('weight')
/** After so many half-lives a hit counts less than a billionth. */
const LIFE_IN_HALF_LIVES = 30
const MIN_HALF_LIFE_MS = 1000
const MAX_WEIGHT = 1_000_000
const MOST = 1000

/** Six digits are exact. */
const scoreOf = (reply: string): number =>
  Number((2 ** (Number(reply) / SCORE_UNIT)).toPrecision(6))

/** @throws TP_OPTION for an option that cannot be used */
export function createTrending(
  context: ExtensionContext,
  name: string,
  options: TrendingOptions = {},
): Trending {
  validateOptions('trending()', options, OPTIONS)
  const { halfLife = '1h', max = 1000 } = options
  const list = new Collection(context, 'trending', name, { halfLife, max })
  const half = list.ttl(halfLife, 'halfLife', MIN_HALF_LIFE_MS)
  const { store } = context

  return {
    async hit(id, call = {}) {
      const item = list.item(id, 'hit')
      const keys = list.keys('hit', call, [], [], HIT_OPTIONS)
      const weight = list.integer(call.weight ?? 1, 1, MAX_WEIGHT, 'hit', 'weight')
      await store.run(hitTrend, keys, [item, weight, half, half * LIFE_IN_HALF_LIVES, max])
    },
    async top(count, call = {}) {
      const most = list.integer(count, 1, MOST, 'top', 'the count')
      const found = await store.run(readTrends, list.keys('top', call, []), [most, half])
      const trends: Trend[] = []
      for (let i = 0; i < found.length; i += 2)
        trends.push({ id: found[i]!, score: scoreOf(found[i + 1]!) })
      return trends
    },
    async remove(id, call = {}) {
      const item = list.item(id, 'remove')
      return (await store.run(removeTrend, list.keys('remove', call, []), [item])) === 1
    },
  }
}
