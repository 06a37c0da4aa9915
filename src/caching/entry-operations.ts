/** The atomic steps on one entry and its lease (Nishtala et al., "Scaling Memcache at Facebook", 2013). */
import { TurnpikeError } from '../errors.ts'
import {
  operation,
  type OperationArgument,
  type MemoryDatabase,
  type Operation,
  type OperationReply,
} from '../store/store.ts'
import countLua from './increment-counter.lua'
import expireLua from './expire-entry.lua'
import fillLua from './fill-entry.lua'
import lookLua from './lookup-entry.lua'
import putLua from './write-entry.lua'
import releaseLua from './release-fill-lease.lua'
import type { LogFields } from './invalidation-operations.ts'
import { parseMark } from './validity.ts'

/** Holds a lease that nobody shall have: no entry would come of it. */
const VAIN = '-'

/** A lease as the in-process engine keeps it. */
interface Lease {
  until: number
  token: string
  awaited: boolean
}

const FRESH = /^TPC1(\d+)$/
const HEAD = /^\["([^"]*)",(\d+),/
const bytes = (value: OperationArgument): Buffer =>
  Buffer.isBuffer(value) ? value : Buffer.from(String(value))

/** Reads an entry and, where it has to be made anew, takes the lease. Keys, arguments and reply: look.lua. */
export const lookupEntry: Operation<OperationReply[]> = operation<OperationReply[]>({
  name: 'cache.look',
  lua: lookLua,
  buffers: true,
  memory(database, [entryKey, leaseKey, record], [token, length, known, ...names], now) {
    const entry = database.get<Buffer>(entryKey!) ?? null
    const noted = record === undefined ? undefined : database.get<LogFields>(record)
    const fields = record === undefined ? [] : names.map((name) => noted?.get(String(name)) ?? null)
    if (token === '') return [entry, 0, now, fields]
    if (entry) {
      const fresh = FRESH.exec(entry.toString('latin1', 0, 17))
      const isInvalid = (): boolean => hasHit(entry, String(known), fields)
      if (!fresh || (Number(fresh[1]) > now && !isInvalid())) return [entry, 0, now, fields]
    }
    const lease = database.get<Lease>(leaseKey!)
    if (lease && lease.until > now && lease.token === VAIN) return [entry, 3, now, fields]
    if (lease && lease.until > now && lease.token !== token) {
      lease.awaited = true
      return [entry, 2, now, fields]
    }
    const made: Lease = { until: now + Number(length), token: String(token), awaited: false }
    database.set(leaseKey!, made, Number(length))
    return [entry, 1, now, fields]
  },
})

const headOf = (entry: Buffer): string => entry.toString('latin1', 21, 121)

/** Has an invalidation hit an entry? @param fields of the record; none: it is out of reach */
function hasHit(entry: Buffer, known: string, fields: readonly (string | null)[]): boolean {
  const head = headOf(entry)
  if (known !== '' && head.startsWith(known)) return true
  const [, nonce, text] = HEAD.exec(head) ?? []
  const sequence = Number(text)
  if (nonce === undefined || fields.length === 0) return false
  const [current, latest, everything, , ...tags] = fields
  if (nonce !== current || sequence > Number(latest)) return true
  return [everything, ...tags].some((mark) => {
    const { hard, soft } = parseMark(mark)
    return Math.max(hard, soft) > sequence
  })
}

/** Stores an entry and gives the lease back. Keys, arguments and reply: fill.lua. */
export const fillEntry: Operation<number> = operation({
  name: 'cache.fill',
  lua: fillLua,
  memory(database, [entry, leaseKey, marker, index], args, now) {
    const [token, guarded, value, life, channel, message, mark, id, most] = args
    const lease = database.get<Lease>(leaseKey!)
    const ours = lease !== undefined && token !== '' && lease.token === token
    if (guarded === '1' && !ours) return 0
    const older = !ours && isOlder(bytes(value!), database.get<Buffer>(entry!), now)
    if (!older) database.set(entry!, bytes(value!), Number(life))
    if (!older && marker !== undefined) {
      const ages = database.get<Variants>(index!) ?? { ids: new Map(), until: 0 }
      const longest = Math.max(Number(life), ages.until - now)
      database.set(marker, bytes(mark!), longest)
      ages.ids.set(String(id), now)
      ages.until = now + longest
      database.set(index!, ages, longest)
      const oldest = [...ages.ids].toSorted(byAge)
      for (const [gone] of oldest.slice(0, Math.max(0, oldest.length - Number(most)))) {
        ages.ids.delete(gone)
        database.delete(`${marker}${gone}`)
      }
    }
    if (ours || lease?.token === VAIN) giveBack(database, leaseKey!, lease, channel!, message!)
    return 1
  },
})

/** Does an entry know of fewer invalidations than the fresh one that is there? */
function isOlder(entry: Buffer, there: Buffer | undefined, now: number): boolean {
  const fresh = there && FRESH.exec(there.toString('latin1', 0, 17))
  if (!fresh || Number(fresh[1]) <= now) return false
  const [, nonce, sequence] = HEAD.exec(headOf(entry)) ?? []
  const [, other, later] = HEAD.exec(headOf(there)) ?? []
  return nonce !== undefined && nonce === other && Number(later) > Number(sequence)
}

interface Variants {
  ids: Map<string, number>
  until: number
}

const byAge = ([a, x]: [string, number], [b, y]: [string, number]): number =>
  x - y || (a < b ? -1 : 1)

function giveBack(
  database: MemoryDatabase,
  key: string,
  lease: Lease,
  channel: OperationArgument,
  message: OperationArgument,
): void {
  database.delete(key)
  if (lease.awaited && channel !== '') database.publish(String(channel), String(message))
}

/** Gives a lease back without an entry. Keys, arguments and reply: release.lua. */
export const releaseFillLease: Operation<number> = operation({
  name: 'cache.release',
  lua: releaseLua,
  memory(database, [key], [token, channel, message, pause], now) {
    const lease = database.get<Lease>(key!)
    if (!lease || lease.token !== token) return 0
    giveBack(database, key!, lease, channel!, message!)
    if (Number(pause) > 0) {
      const vain: Lease = { until: now + Number(pause), token: VAIN, awaited: false }
      database.set(key!, vain, Number(pause))
    }
    return 1
  },
})

/** Writes or removes an entry outright. Keys, arguments and reply: put.lua. */
export const writeEntry: Operation<number> = operation({
  name: 'cache.put',
  lua: putLua,
  memory(database, [entry, leaseKey], [value, life, channel, message]) {
    const before = database.get(entry!) === undefined ? 0 : 1
    if (value === '') database.delete(entry!)
    else database.set(entry!, bytes(value!), Number(life))
    const lease = database.get<Lease>(leaseKey!)
    if (lease) giveBack(database, leaseKey!, lease, channel!, message!)
    return before
  },
})

/** A counter in the in-process engine: its time to live is not renewed by counting. */
type Counter = Buffer & { until?: number }

/** Counts. Keys, arguments and reply: count.lua. */
export const incrementCounter: Operation<number> = operation({
  name: 'cache.count',
  lua: countLua,
  memory(database, [key, leaseKey], [amount, life], now) {
    const known = database.get<Counter>(key!)
    const text = known?.toString('latin1') ?? '0'
    if (!/^-?\d+$/.test(text))
      throw new TurnpikeError('TP_COMMAND', "The operation 'cache.count' needs a whole number.")
    const sum = Number(text) + Number(amount)
    const until = known?.until ?? now + Number(life)
    database.set(key!, Object.assign(Buffer.from(String(sum)), { until }), until - now)
    database.delete(leaseKey!)
    return sum
  },
})

/** Gives an entry or a counter another time to live. Keys, arguments and reply: expire.lua. */
export const expireEntry: Operation<number> = operation({
  name: 'cache.expire',
  lua: expireLua,
  memory(database, [key], [life], now) {
    const known = database.get<Counter>(key!)
    if (!known) return 0
    const until = now + Number(life)
    const isEntry = FRESH.test(known.toString('latin1', 0, 17))
    const next: Counter = Buffer.from(known)
    if (isEntry) next.write(String(Math.floor(until)).padStart(13, '0'), 4, 'latin1')
    else next.until = until
    database.set(key!, next, Number(life))
    return 1
  },
})

/** Removes keys of one slot: UNLINK. Replies how many there were. */
export const unlinkKeys: Operation<number> = operation({
  name: 'cache.unlink',
  command: 'UNLINK',
  memory: (database, keys) => keys.filter((key) => database.delete(key)).length,
})
