/** The atomic steps on one entry and its lease (Nishtala et al., "Scaling Memcache at Facebook", 2013). */
import { TurnpikeError } from '../errors.ts'
import {
  operation,
  type OperationArgument,
  type MemoryDatabase,
  type Operation,
  type OperationReply,
} from '../store/store.ts'
import expireLua from './expire-entry.lua'
import fillLua from './fill-entry.lua'
import incrementLua from './increment-counter.lua'
import lookupLua from './lookup-entry.lua'
import releaseLua from './release-fill-lease.lua'
import writeLua from './write-entry.lua'
import type { LogFields } from './invalidation-operations.ts'
import { parseMark } from './validity.ts'

/** The token of a lease that no caller holds: fills are paused. */
const PAUSE = '-'

/** A lease as the in-process engine keeps it. */
interface Lease {
  until: number
  token: string
  isAwaited: boolean
}

const FRESHNESS = /^TPC1(\d+)$/
const METADATA = /^\["([^"]*)",(\d+),/
const bufferOf = (value: OperationArgument): Buffer =>
  Buffer.isBuffer(value) ? value : Buffer.from(String(value))
const freshnessOf = (entry: Buffer): RegExpExecArray | null =>
  FRESHNESS.exec(entry.toString('latin1', 0, 17))
const metadataOf = (entry: Buffer): string => entry.toString('latin1', 21, 121)

/**
 * Reads an entry and, if it has to be filled, takes the lease. Keys, arguments and reply:
 * lookup-entry.lua.
 */
export const lookupEntry: Operation<OperationReply[]> = operation<OperationReply[]>({
  name: 'cache.lookup',
  lua: lookupLua,
  buffers: true,
  memory(database, [entryKey, leaseKey, logKey], [token, length, known, ...names], now) {
    const entry = database.get<Buffer>(entryKey!) ?? null
    const log = logKey === undefined ? undefined : database.get<LogFields>(logKey)
    const fields = logKey === undefined ? [] : names.map((name) => log?.get(String(name)) ?? null)
    if (token === '') return [entry, 0, now, fields]
    if (entry) {
      const fresh = freshnessOf(entry)
      const isInvalid = (): boolean => isHit(entry, String(known), fields)
      if (!fresh || (Number(fresh[1]) > now && !isInvalid())) return [entry, 0, now, fields]
    }
    const lease = database.get<Lease>(leaseKey!)
    if (lease && lease.until > now && lease.token === PAUSE) return [entry, 3, now, fields]
    if (lease && lease.until > now && lease.token !== token) {
      lease.isAwaited = true
      return [entry, 2, now, fields]
    }
    const taken: Lease = { until: now + Number(length), token: String(token), isAwaited: false }
    database.set(leaseKey!, taken, Number(length))
    return [entry, 1, now, fields]
  },
})

/** Reads an entry that a lookup found to be large. */
export const readLargeEntry: Operation<Buffer | null> = operation<Buffer | null>({
  name: 'cache.readLarge',
  command: 'GET',
  buffers: true,
  large: true,
  memory: (database, [key]) => database.get<Buffer>(key!) ?? null,
})

/** Returns whether an invalidation has hit an entry. @param fields of the log; none: it is in another slot */
function isHit(entry: Buffer, known: string, fields: readonly (string | null)[]): boolean {
  const metadata = metadataOf(entry)
  if (known !== '' && metadata.startsWith(known)) return true
  const [, nonce, text] = METADATA.exec(metadata) ?? []
  const sequence = Number(text)
  if (nonce === undefined || fields.length === 0) return false
  const [current, latest, everything, , ...tags] = fields
  if (nonce !== current || sequence > Number(latest)) return true
  return [everything, ...tags].some((mark) => {
    const { hard, soft } = parseMark(mark)
    return Math.max(hard, soft) > sequence
  })
}

/** Stores an entry and releases its lease. Keys, arguments and reply: fill-entry.lua. */
export const fillEntry: Operation<number> = operation({
  name: 'cache.fill',
  lua: fillLua,
  memory(database, [entryKey, leaseKey, markerKey, indexKey], args, now) {
    const [token, guarded, value, ttl, channel, message, marker, suffix, maxVariants] = args
    const lease = database.get<Lease>(leaseKey!)
    const isOurs = lease !== undefined && token !== '' && lease.token === token
    if (guarded === '1' && !isOurs) return 0
    const entry = bufferOf(value!)
    const isOlder = !isOurs && isOlderThan(entry, database.get<Buffer>(entryKey!), now)
    if (!isOlder) database.set(entryKey!, entry, Number(ttl))
    if (!isOlder && markerKey !== undefined) {
      const variants = database.get<Variants>(indexKey!) ?? { ages: new Map(), until: 0 }
      const longest = Math.max(Number(ttl), variants.until - now)
      database.set(markerKey, bufferOf(marker!), longest)
      variants.ages.set(String(suffix), now)
      variants.until = now + longest
      database.set(indexKey!, variants, longest)
      const excess = Math.max(0, variants.ages.size - Number(maxVariants))
      for (const [oldest] of [...variants.ages].toSorted(byAge).slice(0, excess)) {
        variants.ages.delete(oldest)
        database.delete(`${markerKey}${oldest}`)
      }
    }
    if (isOurs || lease?.token === PAUSE)
      removeLease(database, leaseKey!, lease, channel!, message!)
    return 1
  },
})

/** Returns whether an entry knows of fewer invalidations than the fresh one that is stored. */
function isOlderThan(entry: Buffer, stored: Buffer | undefined, now: number): boolean {
  const fresh = stored && freshnessOf(stored)
  if (!fresh || Number(fresh[1]) <= now) return false
  const [, nonce, sequence] = METADATA.exec(metadataOf(entry)) ?? []
  const [, storedNonce, storedSequence] = METADATA.exec(metadataOf(stored)) ?? []
  return nonce !== undefined && nonce === storedNonce && Number(storedSequence) > Number(sequence)
}

interface Variants {
  ages: Map<string, number>
  until: number
}

const byAge = ([a, x]: [string, number], [b, y]: [string, number]): number =>
  x - y || (a < b ? -1 : 1)

function removeLease(
  database: MemoryDatabase,
  key: string,
  { isAwaited }: Lease,
  channel: OperationArgument,
  message: OperationArgument,
): void {
  database.delete(key)
  if (isAwaited && channel !== '') database.publish(String(channel), String(message))
}

/** Releases a lease without an entry. Keys, arguments and reply: release-fill-lease.lua. */
export const releaseFillLease: Operation<number> = operation({
  name: 'cache.releaseLease',
  lua: releaseLua,
  memory(database, [key], [token, channel, message, pause], now) {
    const lease = database.get<Lease>(key!)
    if (!lease || lease.token !== token) return 0
    removeLease(database, key!, lease, channel!, message!)
    if (Number(pause) > 0) {
      const paused: Lease = { until: now + Number(pause), token: PAUSE, isAwaited: false }
      database.set(key!, paused, Number(pause))
    }
    return 1
  },
})

/** Writes or removes an entry, regardless of who holds the lease. Keys, arguments and reply: write-entry.lua. */
export const writeEntry: Operation<number> = operation({
  name: 'cache.write',
  lua: writeLua,
  memory(database, [entryKey, leaseKey], [value, ttl, channel, message]) {
    const before = database.get(entryKey!) === undefined ? 0 : 1
    if (value === '') database.delete(entryKey!)
    else database.set(entryKey!, bufferOf(value!), Number(ttl))
    const lease = database.get<Lease>(leaseKey!)
    if (lease) removeLease(database, leaseKey!, lease, channel!, message!)
    return before
  },
})

/** A counter in the in-process engine. Incrementing it does not extend its life. */
type Counter = Buffer & { until?: number }

/** Increments a counter. Keys, arguments and reply: increment-counter.lua. */
export const incrementCounter: Operation<number> = operation({
  name: 'cache.increment',
  lua: incrementLua,
  memory(database, [key, leaseKey], [amount, ttl], now) {
    const known = database.get<Counter>(key!)
    const text = known?.toString('latin1') ?? '0'
    if (!/^-?\d+$/.test(text))
      throw new TurnpikeError('TP_COMMAND', "The operation 'cache.increment' needs an integer.")
    const sum = Number(text) + Number(amount)
    const until = known?.until ?? now + Number(ttl)
    database.set(key!, Object.assign(Buffer.from(String(sum)), { until }), until - now)
    database.delete(leaseKey!)
    return sum
  },
})

/** Sets the time to live of an entry or a counter. Keys, arguments and reply: expire-entry.lua. */
export const expireEntry: Operation<number> = operation({
  name: 'cache.expire',
  lua: expireLua,
  memory(database, [key], [ttl], now) {
    const known = database.get<Counter>(key!)
    if (!known) return 0
    const until = now + Number(ttl)
    const next: Counter = Buffer.from(known)
    if (freshnessOf(known)) next.write(String(Math.floor(until)).padStart(13, '0'), 4, 'latin1')
    else next.until = until
    database.set(key!, next, Number(ttl))
    return 1
  },
})

/** Removes keys of one slot: UNLINK. Replies with the number of keys that existed. */
export const unlinkKeys: Operation<number> = operation({
  name: 'cache.unlink',
  command: 'UNLINK',
  memory: (database, keys) => keys.filter((key) => database.delete(key)).length,
})
