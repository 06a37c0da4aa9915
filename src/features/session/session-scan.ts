/** Goes over all sessions of an instance, in bounded steps. For administration: it reads every key. */
import type { SessionEngine } from './engine.ts'
import type { LoadedSession } from './session-storage.ts'
import { handleOf, keysAt, type SessionKeys } from './session-id.ts'

/** A session that was found: its keys, and what it is called. */
interface FoundSession {
  readonly keys: SessionKeys
  /** The handle, or the ID of a session that connect-redis stored. */
  readonly name: string
}

/** Number of sessions that are read or ended at once. */
const CONCURRENCY = 100

/** Returns the names of all sessions. */
export async function sessionNames(engine: SessionEngine): Promise<string[]> {
  const names: string[] = []
  for await (const { name } of findSessions(engine)) names.push(name)
  return names
}

/** Loads all sessions that can be read. */
export async function loadAllSessions(
  engine: SessionEngine,
): Promise<{ name: string; loaded: LoadedSession }[]> {
  const all: { name: string; loaded: LoadedSession }[] = []
  await forEach(findSessions(engine), async ({ keys, name }) => {
    const loaded = await engine.load(keys)
    if (loaded) all.push({ name, loaded })
  })
  return all
}

/** Ends all sessions. */
export async function clearSessions(engine: SessionEngine): Promise<void> {
  await forEach(findSessions(engine), ({ keys }) => engine.destroy(keys))
}

async function* findSessions(engine: SessionEngine): AsyncGenerator<FoundSession> {
  const { keys, store } = engine.context
  const { legacyPrefix } = engine.options
  const seen = new Set<string>()
  // A key may come twice, and a pattern may match more than its prefix.
  const isNew = (key: string, prefix: string): boolean =>
    key.startsWith(prefix) && !seen.has(key) && seen.add(key) !== undefined
  const example = keys.key('session', 'tag', 'digest')
  const prefix = example.slice(0, -'tag}:digest'.length)
  for await (const batch of store.scan(`${patternOf(prefix)}*}:*`)) {
    for (const key of batch) {
      const parts = /^([\w-]{8})\}:([\w-]{22})$/.exec(key.slice(prefix.length))
      if (!parts || !isNew(key, prefix)) continue
      const found = keysAt(keys, parts[1]!, parts[2]!, '', undefined)
      yield { keys: found, name: handleOf(found) }
    }
  }
  // Without a prefix nothing tells sessions from other keys.
  if (!legacyPrefix) return
  for await (const batch of store.scan(`${patternOf(legacyPrefix)}*`)) {
    for (const key of batch) {
      if (!isNew(key, legacyPrefix)) continue
      const id = key.slice(legacyPrefix.length)
      yield { keys: engine.keysOf(id, undefined), name: id }
    }
  }
}

/** Returns a pattern that matches a prefix, and any that differs only in the pattern's own signs. */
const patternOf = (prefix: string): string => prefix.replace(/[*?[\]\\^]/g, '?')

/** Calls `work` for each value, with a bounded number of calls in progress. */
async function forEach<Value>(
  values: AsyncIterable<Value>,
  work: (value: Value) => Promise<void>,
): Promise<void> {
  let batch: Promise<void>[] = []
  for await (const value of values) {
    batch.push(work(value))
    if (batch.length < CONCURRENCY) continue
    await Promise.all(batch)
    batch = []
  }
  await Promise.all(batch)
}
