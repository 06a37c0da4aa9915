/** Alerts in Redis. Keys, arguments and replies: see the Lua files. */
import { keyPart, type KeySpace } from '../../store/keys.ts'
import { operation, type Operation } from '../../store/store.ts'
import prelude from '../../store/whole.lua'
import {
  nextAlertState,
  type AlertChange,
  type AlertState,
  type AlertVerdict,
} from './alert-state.ts'
import increaseLua from './count-increase.lua'
import reportLua from './report-alert.lua'
import silenceLua from './silence-alert.lua'
import turnLua from './take-turn.lua'

/** All keys share a hash slot. */
const ALL = 'all'

/** Returns the key of the process that checks. @param keys of the extension `operations` */
export const turnKey = (keys: KeySpace): string => keys.key('alerts', ALL)

/** Returns the key of an alert. */
export const alertKey = (keys: KeySpace, name: string): string =>
  keys.key('alert', ALL, keyPart(name))

/** Returns the key of an alert's silence. */
export const silenceKey = (keys: KeySpace, name: string): string =>
  keys.key('silence', ALL, keyPart(name))

/** Returns the key of what a counter of the server was. */
export const counterKey = (keys: KeySpace, name: string): string =>
  keys.key('counter', ALL, keyPart(name))

/** Lets one process check all alerts in each interval. */
export const takeAlertTurn: Operation<number> = operation({
  name: 'alerts.takeTurn',
  lua: `${prelude}\n${turnLua}`,
  memory(database, [key], [interval], now) {
    const began = database.get<number>(key!) ?? 0
    if (began <= now && now - began < Number(interval)) return 0
    database.set(key!, now, Number(interval))
    return 1
  },
})

/** Moves an alert to its next state. */
export const reportAlert: Operation<[change: AlertChange, since: string]> = operation({
  name: 'alerts.report',
  lua: `${prelude}\n${reportLua}`,
  memory(database, [key, silence], [verdict, forMs, remindMs, ms], now) {
    if ((database.get<number>(silence!) ?? 0) > now) return ['none', '0']
    const before = database.get<AlertState>(key!)
    const times = { forMs: Number(forMs), remindMs: Number(remindMs) }
    const { state, change } = nextAlertState(before, verdict as AlertVerdict, times, now)
    if (state) database.set(key!, state, Number(ms))
    else database.delete(key!)
    const since = state?.since ?? (change === 'resolved' ? before!.since : 0)
    return [change, String(since)]
  },
})

/** A counter of the server as it was at the beginning of a window, and of the one before. */
interface CounterWindow {
  readonly began: number
  readonly value: number
  readonly before: number
}

/** Returns how much a counter of the server has grown within the last one or two windows. */
export const countIncrease: Operation<string> = operation({
  name: 'alerts.increase',
  lua: `${prelude}\n${increaseLua}`,
  memory(database, [key], [counter, window, ttl], now) {
    const value = Number(counter)
    let held = database.get<CounterWindow>(key!) ?? { began: now, value, before: value }
    if (value < held.value) held = { began: now, value: 0, before: 0 }
    else if (now - held.began >= Number(window) || held.began > now)
      held = { began: now, value, before: held.value }
    database.set(key!, held, Number(ttl))
    return String(value - held.before)
  },
})

/** Silences an alert. */
export const silenceAlert: Operation<string> = operation({
  name: 'alerts.silence',
  lua: `${prelude}\n${silenceLua}`,
  memory(database, [key], [ms], now) {
    const ends = now + Number(ms)
    database.set(key!, ends, Math.max(1, Number(ms)))
    return String(ends)
  },
})

/** Reads an alert: fields and values in turn. */
export const readAlert: Operation<string[]> = operation({
  name: 'alerts.read',
  command: 'HGETALL',
  memory: (database, [key]) =>
    Object.entries(database.get<AlertState>(key!) ?? {}).flatMap(([field, value]) => [
      field,
      String(value),
    ]),
})
