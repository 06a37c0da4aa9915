/** What capped lists ask of the store. Keys, arguments and replies: see the script. */
import { operation, type Operation } from '../../../store/store.ts'
import whole from '../../../store/whole.lua'
import appendLua from './append.lua'

/** Appends a value. */
export const appendValue: Operation<number> = operation({
  name: 'list.append',
  lua: `${whole}\n${appendLua}`,
  memory(database, [key], [value, most, ttl]) {
    const values = [...(database.get<string[]>(key!) ?? []), String(value)].slice(-Number(most))
    database.set(key!, values, Number(ttl))
    return values.length
  },
})

/** Reads the latest values, the oldest of them first. */
export const readLast: Operation<string[]> = operation({
  name: 'list.last',
  lua: `return redis.call('LRANGE', KEYS[1], -ARGV[1], -1)`,
  memory: (database, [key], [count]) => (database.get<string[]>(key!) ?? []).slice(-Number(count)),
})
