/** How matches and bans of a client are counted. Arguments and replies: see the Lua files. */
import { operation, type Operation } from '../../store/store.ts'
import prelude from '../../store/whole.lua'
import countBanLua from './count-ban.lua'
import countMatchLua from './count-match.lua'

/** Counts a match. */
export const countMatch: Operation<[isTooMany: number, bans: number]> = operation({
  name: 'operations.countMatch',
  lua: `${prelude}\n${countMatchLua}`,
  memory(database, [matches, bans], [most, window], now) {
    const times = database.get<readonly number[]>(matches!) ?? []
    const oldest = times[Number(most) - 1]
    if (oldest !== undefined && oldest > now - Number(window)) {
      database.delete(matches!)
      return [1, database.get<number>(bans!) ?? 0]
    }
    database.set(matches!, [now, ...times].slice(0, Number(most)), Number(window))
    return [0, 0]
  },
})

/** Counts a ban. */
export const countBan: Operation<number> = operation({
  name: 'operations.countBan',
  lua: `${prelude}\n${countBanLua}`,
  memory(database, [key], [ttl]) {
    const count = (database.get<number>(key!) ?? 0) + 1
    database.set(key!, count, Number(ttl))
    return count
  },
})
