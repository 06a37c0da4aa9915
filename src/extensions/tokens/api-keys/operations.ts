/** What API keys ask of the store. Keys, arguments and replies: see the scripts. */
import { operation, type MemoryDatabase, type Operation } from '../../../store/store.ts'
import whole from '../../../store/whole.lua'
import entryLua from './entry.lua'
import fillLua from './fill.lua'
import findLua from './find.lua'
import forgetLua from './forget.lua'
import touchLua from './touch.lua'

/** What is known of a key. See entry.lua. */
interface KeyEntry {
  readonly kind: string
  readonly content: string
  readonly ends: number
}

const script = (lua: string): string => `${whole}\n${entryLua}\n${lua}`

function read(database: MemoryDatabase, key: string, now: number): KeyEntry | undefined {
  const entry = database.get<KeyEntry>(key)
  return entry !== undefined && entry.ends > now ? entry : undefined
}

const write = (
  database: MemoryDatabase,
  key: string,
  entry: Omit<KeyEntry, 'ends'>,
  ms: number,
  now: number,
): void => database.set(key, { ...entry, ends: now + ms } satisfies KeyEntry, ms)

const replyFor = (entry: KeyEntry | undefined): string =>
  entry?.kind === 'r' ? `r${entry.content}` : (entry?.kind ?? '')

/** Tells what is known of a key. Where nothing is, the caller may look it up. */
export const findKey: Operation<string> = operation({
  name: 'apiKey.find',
  lua: script(findLua),
  memory(database, [key], [token, lease], now) {
    const entry = read(database, key!, now)
    if (entry !== undefined || token === '') return replyFor(entry)
    write(database, key!, { kind: 'l', content: String(token) }, Number(lease), now)
    return 'o'
  },
})

/** Stores what a lookup has found, unless the key was revoked or invalidated meanwhile. */
export const fillKey: Operation<string> = operation({
  name: 'apiKey.fill',
  lua: script(fillLua),
  memory(database, [key], [token, found, ttl], now) {
    const entry = read(database, key!, now)
    if (entry?.kind !== 'l' || entry.content !== String(token)) return replyFor(entry)
    const [kind, content] = [String(found).slice(0, 1), String(found).slice(1)]
    if (kind === '') database.delete(key!)
    else write(database, key!, { kind, content }, Number(ttl), now)
    return 'o'
  },
})

/** Revokes a key, or forgets what is known of it, and tells all processes. */
export const forgetKey: Operation<number> = operation({
  name: 'apiKey.forget',
  lua: script(forgetLua),
  memory(database, [key], [revokedFor, channel, message], now) {
    const entry = read(database, key!, now)
    const ms = Number(revokedFor)
    if (ms > 0) write(database, key!, { kind: 'x', content: '' }, ms, now)
    else database.delete(key!)
    database.publish(String(channel), String(message))
    return entry?.kind === 'r' ? 1 : 0
  },
})

/** Notes that a key was used, at most once in a while. */
export const touchKey: Operation<number> = operation({
  name: 'apiKey.touch',
  lua: `${whole}\n${touchLua}`,
  memory(database, [key], [pause, memory], now) {
    const last = Number(database.get<string>(key!) ?? 0) || 0
    if (last + Number(pause) > now && last <= now) return 0
    database.set(key!, String(now), Number(memory))
    return now
  },
})

/** Reads when a key was used. */
export const readKeyUse: Operation<string | null> = operation({
  name: 'apiKey.used',
  command: 'GET',
  memory: (database, [key]) => database.get<string>(key!) ?? null,
})
