/** Which processes hold which version of the rules. They say so only if they are asked. */
import { setTimeout as pause } from 'node:timers/promises'
import type { ExtensionContext } from '../../extension.ts'
import { keyPart, type KeySpace } from '../../store/keys.ts'
import { operation, type Operation } from '../../store/store.ts'
import prelude from '../../store/whole.lua'
import { readProcesses } from '../processes.ts'
import askLua from './ask-holders.lua'
import confirmLua from './confirm-rules.lua'
import type { Settlement } from './options.ts'
import { rulesChannel } from './rule-operations.ts'
import { QUESTION, writesOf } from './rule-messages.ts'

/** Pause between two looks at the answers, in ms. */
const PAUSE = 50
/** A message may be lost: the question is repeated after this long, in ms. */
const REPEAT = 1_000
const MAX_PROCESSES = 4_000
const TTL = 60_000

const heldKey = (keys: KeySpace): string => keys.key('rules-held', keyPart('all'))

type Held = ReadonlyMap<string, string>

/** Notes which version a process holds. */
export const confirmRules: Operation<number> = operation({
  name: 'operations.confirmRules',
  lua: `${prelude}\n${confirmLua}`,
  memory(database, [key], [process, version, most, ttl]) {
    const stored = database.get<Held>(key!)
    const id = String(process)
    const isFull = stored !== undefined && !stored.has(id) && stored.size >= Number(most)
    const held = new Map(isFull ? [] : stored).set(id, String(version))
    database.set(key!, held, Number(ttl))
    return held.size
  },
})

/** Asks, and reads what was answered until now. */
export const askHolders: Operation<string[]> = operation({
  name: 'operations.askHolders',
  lua: askLua,
  memory(database, [key], [channel, question]) {
    if (question !== '') database.publish(String(channel), String(question))
    return [...(database.get<Held>(key!) ?? [])].flat()
  },
})

type AskingContext = Pick<ExtensionContext, 'keys' | 'store'>

/** Writes which version a process holds. @throws TP_UNAVAILABLE, TP_COMMAND */
export async function confirmVersion(
  { keys, store }: AskingContext,
  process: string,
  version: string,
): Promise<void> {
  await store.run(confirmRules, [heldKey(keys)], [process, version, MAX_PROCESSES, TTL])
}

/**
 * Waits until all processes that report hold a version or a later one.
 * @param timeout in ms. The processes that are missing then are returned
 * @throws TP_UNAVAILABLE
 */
export async function awaitVersion(
  context: AskingContext,
  version: string,
  timeout: number,
): Promise<Settlement> {
  const { keys, store } = context
  const began = performance.now()
  let askAt = 0
  let ids: readonly string[] = []
  for (;;) {
    const ms = performance.now() - began
    const asks = ms >= askAt
    if (asks) {
      askAt = ms + REPEAT
      const processes = await readProcesses(context)
      ids = processes.flatMap(({ id, state }) => (state === 'live' ? [id] : []))
    }
    const args = [rulesChannel(keys), asks ? QUESTION : '']
    const fields = await store.run(askHolders, [heldKey(keys)], args)
    const held = new Map<string, number>()
    for (let i = 0; i + 1 < fields.length; i += 2) held.set(fields[i]!, writesOf(fields[i + 1]!))
    const missing = ids.filter((id) => (held.get(id) ?? 0) < writesOf(version))
    if (missing.length === 0 || performance.now() - began >= timeout) {
      const confirmed = ids.length - missing.length
      return { version, processes: ids.length, confirmed, missing, ms: performance.now() - began }
    }
    await pause(PAUSE)
  }
}
