/** What lists of recent items ask of the store. Keys, arguments and replies: see the script. */
import { operation, type Operation } from '../../../store/store.ts'
import whole from '../../../store/whole.lua'
import pushLua from './push.lua'

/** Puts an item first. */
export const pushRecent: Operation<number> = operation({
  name: 'recent.push',
  lua: `${whole}\n${pushLua}`,
  memory(database, [key], [item, most, ttl]) {
    const others = (database.get<string[]>(key!) ?? []).filter((each) => each !== String(item))
    const items = [String(item), ...others].slice(0, Number(most))
    database.set(key!, items, Number(ttl))
    return items.length
  },
})

/** Reads the items, the latest first. */
export const readRecent: Operation<string[]> = operation({
  name: 'recent.list',
  lua: `return redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)`,
  memory: (database, [key], [count]) =>
    (database.get<string[]>(key!) ?? []).slice(0, Number(count)),
})

/** Removes an item. */
export const removeRecent: Operation<number> = operation({
  name: 'recent.remove',
  lua: `return redis.call('LREM', KEYS[1], 0, ARGV[1])`,
  memory(database, [key], [item]) {
    const items = database.get<string[]>(key!) ?? []
    const index = items.indexOf(String(item))
    if (index !== -1) items.splice(index, 1)
    if (items.length === 0) database.delete(key!)
    return index === -1 ? 0 : 1
  },
})
