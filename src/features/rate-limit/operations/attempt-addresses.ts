/** From which addresses an identity was tried. A reset of the identity needs them to find its counts. */
import { operation, type Operation } from '../../../store/store.ts'
import recordLua from './record-address.lua'
import takeLua from './take-addresses.lua'

/** Addresses of an identity. Each new one takes the place of the oldest. */
const MAX_ADDRESSES = 1000

/** Records an address. Key: the identity's set. Arguments: the address, and how many ms to remember it. */
export const recordAddress: Operation<number> = operation({
  name: 'recordAddress',
  lua: recordLua,
  memory(database, [key], [address, keepFor], now) {
    const ttl = Number(keepFor)
    const found = new Map(database.get<Map<string, number>>(key!))
    found.set(String(address), now)
    const recent = [...found].filter(([, at]) => at > now - ttl).toSorted(byTime)
    database.set(key!, new Map(recent.slice(-MAX_ADDRESSES)), ttl)
    return 1
  },
})

/** Replies the addresses of an identity, the oldest first, and forgets them. Key: the identity's set. */
export const takeAddresses: Operation<string[]> = operation({
  name: 'takeAddresses',
  lua: takeLua,
  memory(database, [key]) {
    const found = database.get<Map<string, number>>(key!) ?? new Map<string, number>()
    database.delete(key!)
    return [...found].toSorted(byTime).map(([address]) => address)
  },
})

/** As Redis orders a sorted set: by score, then by bytes. */
const byTime = ([a, at]: [string, number], [b, bt]: [string, number]): number =>
  at - bt || (a < b ? -1 : 1)
