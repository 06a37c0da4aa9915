/** Capped lists: `list()`. */
import { durationValidator, type Duration } from '../../../duration.ts'
import { TurnpikeError } from '../../../errors.ts'
import type { ExtensionContext } from '../../../extension.ts'
import { integer, validateOptions, type Validator } from '../../../validate.ts'
import { Collection, type CollectionCallOptions, type ItemId } from '../collection.ts'
import { removeKey } from '../operations.ts'
import { appendValue, readLast } from './operations.ts'

/** Options of `list()`. */
export interface ListOptions {
  /** Most values of a list. The oldest one makes room. @default 100 */
  max?: number
  /** How long a list is kept after the last `append()`. @default '24h' */
  ttl?: Duration
}

/** Capped lists of JSON values. Each call costs one round trip, and rejects with TP_UNAVAILABLE while Redis is away. */
export interface CappedList<Value> {
  /** Appends a value, up to 16 KiB as JSON. Returns the length of the list. @throws TP_KEY, TP_VALUE, TP_UNAVAILABLE */
  append(id: ItemId, value: Value, options?: CollectionCallOptions): Promise<number>
  /** Returns the latest `count` values, the oldest of them first. @throws TP_KEY, TP_VALUE, TP_UNAVAILABLE */
  last(id: ItemId, count: number, options?: CollectionCallOptions): Promise<Value[]>
  /** Removes a list. Returns true if there was one. @throws TP_KEY, TP_UNAVAILABLE */
  clear(id: ItemId, options?: CollectionCallOptions): Promise<boolean>
}

const OPTIONS: Record<string, Validator> = { max: integer(1, 10_000), ttl: durationValidator }
const MAX_VALUE_BYTES = 16_384

/** @throws TP_OPTION for an option that cannot be used */
export function createList<Value>(
  context: ExtensionContext,
  name: string,
  options: ListOptions = {},
): CappedList<Value> {
  validateOptions('list()', options, OPTIONS)
  const { max = 100, ttl = '24h' } = options
  const values = new Collection(context, 'list', name, { max, ttl })
  const life = values.ttl(ttl)
  const { store } = context
  const keysOf = (id: ItemId, call: CollectionCallOptions, method: string): string[] =>
    values.keys(method, call, [values.item(id, method)])

  function encode(value: Value): string {
    let json: string | undefined
    let cause: unknown
    try {
      json = JSON.stringify(value) as string | undefined
    } catch (error) {
      cause = error
    }
    if (json !== undefined && Buffer.byteLength(json) <= MAX_VALUE_BYTES) return json
    throw new TurnpikeError(
      'TP_VALUE',
      `${values.where}.append(): the value must be one that JSON can hold in ${MAX_VALUE_BYTES} bytes.`,
      { cause },
    )
  }

  return {
    async append(id, value, call = {}) {
      const keys = keysOf(id, call, 'append')
      return await store.run(appendValue, keys, [encode(value), max, life])
    },
    async last(id, count, call = {}) {
      const keys = keysOf(id, call, 'last')
      const most = values.integer(count, 1, max, 'last', 'the count')
      return (await store.run(readLast, keys, [most])).flatMap(decode<Value>)
    },
    clear: async (id, call = {}) =>
      (await store.run(removeKey, keysOf(id, call, 'clear'), [])) === 1,
  }
}

/** What was damaged in Redis is left out. */
function decode<Value>(json: string): Value[] {
  try {
    return [JSON.parse(json) as Value]
  } catch {
    return []
  }
}
