/** What subscriptions ask of the store. Keys, arguments and replies: see the scripts. */
import { operation, type MemoryDatabase, type Operation } from '../../../store/store.ts'
import whole from '../../../store/whole.lua'
import addLua from './add.lua'
import listLua from './list.lua'
import removeLua from './remove.lua'

/** Times of the last add, by value. */
type Values = Map<string, number>

const openValues = (database: MemoryDatabase, key: string, ttl: number, now: number): Values =>
  new Map([...(database.get<Values>(key) ?? [])].filter(([, at]) => at > now - ttl))

/** Returns values and times as a sorted set has them: by time, then by their bytes. */
const sorted = (values: Values): [string, number][] =>
  [...values].toSorted(
    ([a, at], [b, other]) => at - other || Buffer.compare(Buffer.from(a), Buffer.from(b)),
  )

/** Adds values, or renews them. */
export const addValues: Operation<number> = operation({
  name: 'subscriptions.add',
  lua: `${whole}\n${addLua}`,
  memory(database, [key], [life, most, ...added], now) {
    const ttl = Number(life)
    const values = openValues(database, key!, ttl, now)
    let count = 0
    for (const value of added.map(String)) {
      if (!values.has(value)) count++
      values.set(value, now)
    }
    database.set(key!, new Map(sorted(values).slice(-Number(most))), ttl)
    return count
  },
})

/** Removes values. */
export const removeValues: Operation<number> = operation({
  name: 'subscriptions.remove',
  lua: `${whole}\n${removeLua}`,
  memory(database, [key], [life, ...removed], now) {
    const values = openValues(database, key!, Number(life), now)
    const count = removed.filter((value) => values.delete(String(value))).length
    const last = Math.max(0, ...values.values())
    if (values.size === 0) database.delete(key!)
    else database.set(key!, values, Math.max(1, last + Number(life) - now))
    return count
  },
})

/** Reads values, the latest first. */
export const listValues: Operation<string[]> = operation({
  name: 'subscriptions.list',
  lua: `${whole}\n${listLua}`,
  memory: (database, [key], [life], now) =>
    sorted(openValues(database, key!, Number(life), now))
      .toReversed()
      .map(([value]) => value),
})
