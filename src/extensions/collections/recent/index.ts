/** Recent items of each owner: `recent()`. */
import { durationValidator, type Duration } from '../../../duration.ts'
import type { ExtensionContext } from '../../../extension.ts'
import { integer, validateOptions, type Validator } from '../../../validate.ts'
import { Collection, type CollectionCallOptions, type ItemId } from '../collection.ts'
import { removeKey } from '../operations.ts'
import { pushRecent, readRecent, removeRecent } from './operations.ts'

/** Options of `recent()`. */
export interface RecentOptions {
  /** Most items of an owner. The oldest one makes room. @default 10 */
  max?: number
  /** How long the items are kept after the last `push()`. @default '7d' */
  ttl?: Duration
}

/** Recent items of each owner, each once. Each call costs one round trip, and rejects with TP_UNAVAILABLE while Redis is away. */
export interface Recent {
  /** Puts an item first. An item that is there already is moved. @throws TP_KEY, TP_UNAVAILABLE */
  push(owner: ItemId, item: ItemId, options?: CollectionCallOptions): Promise<void>
  /** Returns the items, the latest first. @throws TP_KEY, TP_UNAVAILABLE */
  list(owner: ItemId, options?: CollectionCallOptions): Promise<string[]>
  /** Removes an item. Returns true if it was there. @throws TP_KEY, TP_UNAVAILABLE */
  remove(owner: ItemId, item: ItemId, options?: CollectionCallOptions): Promise<boolean>
  /** Removes all items of an owner. Returns true if there were any. @throws TP_KEY, TP_UNAVAILABLE */
  clear(owner: ItemId, options?: CollectionCallOptions): Promise<boolean>
}

const OPTIONS: Record<string, Validator> = { max: integer(1, 1000), ttl: durationValidator }

/** @throws TP_OPTION for an option that cannot be used */
export function createRecent(
  context: ExtensionContext,
  name: string,
  options: RecentOptions = {},
): Recent {
  validateOptions('recent()', options, OPTIONS)
  const { max = 10, ttl = '7d' } = options
  const items = new Collection(context, 'recent', name, { max, ttl })
  const life = items.ttl(ttl)
  const { store } = context
  const keysOf = (owner: ItemId, call: CollectionCallOptions, method: string): string[] =>
    items.keys(method, call, [items.item(owner, method)])

  return {
    async push(owner, item, call = {}) {
      const keys = keysOf(owner, call, 'push')
      await store.run(pushRecent, keys, [items.item(item, 'push'), max, life])
    },
    list: async (owner, call = {}) =>
      await store.run(readRecent, keysOf(owner, call, 'list'), [max]),
    async remove(owner, item, call = {}) {
      const keys = keysOf(owner, call, 'remove')
      return (await store.run(removeRecent, keys, [items.item(item, 'remove')])) === 1
    },
    clear: async (owner, call = {}) =>
      (await store.run(removeKey, keysOf(owner, call, 'clear'), [])) === 1,
  }
}
