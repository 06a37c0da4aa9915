/** Suggestions while a user types: `suggestions()`. */
import { durationValidator, type Duration } from '../../../duration.ts'
import type { ExtensionContext } from '../../../extension.ts'
import { integer, validateOptions, type Validator } from '../../../validate.ts'
import { optionsOfCall, Collection, type CollectionCallOptions } from '../collection.ts'
import { foldTerm } from './fold.ts'
import { addTerm, completeTerm, removeTerm } from './operations.ts'

/** Options of `suggestions()`. */
export interface SuggestionsOptions {
  /** How long the terms are kept after the last `add()`. @default '30d' */
  ttl?: Duration
  /** Most terms. The least popular one makes room. @default 10000 */
  max?: number
}

/** Terms by prefix and popularity. Each call costs one round trip, and rejects with TP_UNAVAILABLE while Redis is away. */
export interface Suggestions {
  /**
   * Adds to the popularity of a term. Resolves with false for a term that cannot be suggested:
   * blank, or longer than 100 characters.
   * @param options.weight how much it adds, an integer. Default: 1
   * @throws TP_VALUE for what is no string, TP_UNAVAILABLE
   */
  add(term: string, options?: CollectionCallOptions & { weight?: number }): Promise<boolean>
  /**
   * Returns up to `count` terms that begin with `prefix`, the most popular first, as they were last
   * written. Case and accents do not matter. With an empty prefix, the most popular of all.
   * @throws TP_VALUE, TP_UNAVAILABLE
   */
  complete(prefix: string, count: number, options?: CollectionCallOptions): Promise<string[]>
  /** Removes a term. Returns true if it was there. @throws TP_VALUE, TP_UNAVAILABLE */
  remove(term: string, options?: CollectionCallOptions): Promise<boolean>
}

const OPTIONS: Record<string, Validator> = {
  ttl: durationValidator,
  max: integer(1, 20_000),
}
const MAX_LENGTH = 100
const MAX_WEIGHT = 1_000_000
const MOST = 100
const KEYS = ['terms', 'written'] as const
const ADD_OPTIONS = optionsOfCall('weight')

/** @throws TP_OPTION for an option that cannot be used */
export function createSuggestions(
  context: ExtensionContext,
  name: string,
  options: SuggestionsOptions = {},
): Suggestions {
  validateOptions('suggestions()', options, OPTIONS)
  const { ttl = '30d', max = 10_000 } = options
  const words = new Collection(context, 'suggestions', name, { ttl, max })
  const life = words.ttl(ttl)
  const { store } = context
  const keysOf = (method: string, call: CollectionCallOptions): string[] =>
    words.keys(method, call, [], KEYS)

  /** Returns undefined for what is too long. */
  function folded(written: unknown, method: string): string | undefined {
    const term = words.term(written, method)
    if (term.length > MAX_LENGTH) return undefined
    const result = foldTerm(term)
    return result.length > MAX_LENGTH ? undefined : result
  }

  return {
    async add(written, call = {}) {
      const term = folded(written, 'add')?.trimEnd()
      const keys = words.keys('add', call, [], KEYS, ADD_OPTIONS)
      const weight = words.integer(call.weight ?? 1, 1, MAX_WEIGHT, 'add', 'weight')
      if (!term) return false
      await store.run(addTerm, keys, [term, written.trim(), weight, life, max])
      return true
    },
    async complete(prefix, count, call = {}) {
      const begin = folded(prefix, 'complete')
      const most = words.integer(count, 1, MOST, 'complete', 'the count')
      const keys = keysOf('complete', call)
      return begin === undefined ? [] : await store.run(completeTerm, keys, [begin, most])
    },
    async remove(written, call = {}) {
      const term = folded(written, 'remove')?.trimEnd()
      const keys = keysOf('remove', call)
      return term ? (await store.run(removeTerm, keys, [term])) === 1 : false
    },
  }
}
