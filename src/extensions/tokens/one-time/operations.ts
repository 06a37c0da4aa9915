/** What one-time tokens ask of the store. Keys, arguments and replies: see the scripts. */
import { timingSafeEqual } from 'node:crypto'
import { operation, type Operation } from '../../../store/store.ts'
import whole from '../../../store/whole.lua'
import admitLua from './admit-address.lua'
import consumeLua from './consume.lua'
import issueLua from './issue.lua'
import recordLua from './record.lua'
import revokeLua from './revoke.lua'
import {
  formatRecord,
  isLive,
  LIFE_OF_NONE,
  recordLife,
  parseRecord,
  pauseAfter,
  voidRecord,
  type OneTimeRecord,
  type Patience,
} from './record.ts'

const script = (lua: string): string => `${whole}\n${recordLua}\n${lua}`

/** Issues a token in place of the former one, unless it is too early. */
export const issueToken: Operation<number> = operation({
  name: 'oneTime.issue',
  lua: script(issueLua),
  memory(database, [key], [token, payload, ...numbers], now) {
    const before = parseRecord(database.get(key!))
    if (before && before.pause > now) return before.pause - now
    const [ttl, attempts, cooldown, maxCooldown] = numbers.map(Number) as [
      number,
      number,
      number,
      number,
    ]
    const failures = before?.failures ?? 0
    const record: OneTimeRecord = {
      token: String(token),
      payload: String(payload),
      left: attempts,
      failures,
      ends: now + ttl,
      pause: now + pauseAfter(failures, { attempts, cooldown, maxCooldown }),
    }
    database.set(key!, formatRecord(record), recordLife(record, now))
    return 0
  },
})

/** Compares a token with the issued one. */
export const consumeToken: Operation<[1, number, string] | [0, 0 | 1]> = operation({
  name: 'oneTime.consume',
  lua: script(consumeLua),
  memory(database, [key], [stays, attempts, cooldown, maxCooldown, ...tokens], now) {
    const text = database.get<string>(key!)
    if (text === undefined) return [0, 0]
    const record = parseRecord(text)
    if (record === undefined) {
      database.set(key!, text, LIFE_OF_NONE)
      return [0, 0]
    }
    const patience: Patience = {
      attempts: Number(attempts),
      cooldown: Number(cooldown),
      maxCooldown: Number(maxCooldown),
    }
    const reply = isLive(record, now)
      ? compare(record, tokens.map(String), stays === '1', patience, now)
      : ([0, 0] as [0, 0])
    database.set(key!, formatRecord(record), recordLife(record, now))
    return reply
  },
})

function compare(
  record: OneTimeRecord,
  tokens: readonly string[],
  stays: boolean,
  patience: Patience,
  now: number,
): [1, number, string] | [0, 0 | 1] {
  if (tokens.some((token) => isEqual(token, record.token))) {
    const { ends, payload } = record
    record.failures = 0
    if (!stays) voidRecord(record)
    return [1, ends - now, payload]
  }
  if (patience.attempts === 0) return [0, 0]
  record.left--
  record.failures = Math.min(record.failures + 1, 999_999)
  if (record.left > 0) return [0, 0]
  voidRecord(record)
  record.pause = Math.max(record.pause, now + pauseAfter(record.failures, patience))
  record.left = 0
  return [0, 1]
}

const isEqual = (a: string, b: string): boolean =>
  a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))

/** Makes the issued token void. */
export const revokeIssued: Operation<number> = operation({
  name: 'oneTime.revoke',
  lua: script(revokeLua),
  memory(database, [key], _args, now) {
    const record = parseRecord(database.get(key!))
    if (record === undefined) return 0
    const wasLive = isLive(record, now)
    voidRecord(record)
    if (record.failures === 0) database.delete(key!)
    else database.set(key!, formatRecord(record), recordLife(record, now))
    return wasLive ? 1 : 0
  },
})

/** Admits a use by an address, or takes it back. */
export const admitAddress: Operation<number> = operation({
  name: 'oneTime.admit',
  lua: `${whole}\n${admitLua}`,
  memory(database, [key], [window, use], now) {
    const free = Math.max(Number(database.get<string>(key!) ?? 0) || 0, now) + Number(use)
    if (free > now + Number(window)) return free - now - Number(window)
    if (free <= now) database.delete(key!)
    else database.set(key!, String(free), free - now)
    return 0
  },
})
