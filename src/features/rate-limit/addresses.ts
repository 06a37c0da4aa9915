/** From which addresses an identity was tried, so that a reset finds its counts. */
import { operation, type Operation } from '../../store/store.ts'
import remember from './addresses.lua'
import give from './recall.lua'

const MOST = 1000

/** Remember an address: KEYS the identity's set; ARGV the address, and for how many ms. */
export const addresses: Operation<number> = operation({
  name: 'addresses',
  lua: remember,
  memory(database, [key], [address, keep], now) {
    const ttl = Number(keep)
    const found = new Map(database.get<Map<string, number>>(key!))
    found.set(String(address), now)
    const recent = [...found].filter(([, at]) => at > now - ttl).toSorted(byTime)
    database.set(key!, new Map(recent.slice(-MOST)), ttl)
    return 1
  },
})

/** Give the addresses and forget them: KEYS the identity's set. */
export const recall: Operation<string[]> = operation({
  name: 'recall',
  lua: give,
  memory(database, [key]) {
    const found = database.get<Map<string, number>>(key!) ?? new Map<string, number>()
    database.delete(key!)
    return [...found].toSorted(byTime).map(([address]) => address)
  },
})

/** As Redis orders a sorted set: by score, then by bytes. */
const byTime = ([a, at]: [string, number], [b, bt]: [string, number]): number =>
  at - bt || (a < b ? -1 : 1)
