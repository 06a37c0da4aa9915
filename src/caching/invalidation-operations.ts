/**
 * The invalidation log: which tags were invalidated, and when, by one sequence for all of them. One
 * log serves an instance, or one tenant of it.
 */
import {
  operation,
  type OperationArgument,
  type MemoryDatabase,
  type Operation,
} from '../store/store.ts'
import announceLua from './announce-position.lua'
import appendLua from './append-invalidation.lua'
import openLua from './open-log.lua'
import pruneLua from './prune-log.lua'

/**
 * How something is invalidated: `hard` removes it, `soft` makes it stale, `glob` removes what a
 * pattern matches.
 */
export type InvalidationMode = 'hard' | 'soft' | 'glob'

/** A log as the in-process engine keeps it. */
export type LogFields = Map<string, string>

const NONCE_FIELD = '!'
const SEQUENCE_FIELD = '#'
/** The field of the last invalidation of everything. */
export const EVERYTHING_FIELD = '*'
const PATTERNS_FIELD = '?'
/** The field of the longest life of an entry. */
const LIFE_FIELD = '~'

const MAX_PATTERNS = 16

/** Returns the fields that a lookup reads for these tags; see `parseSnapshot`. */
export const logFieldsFor = (tags: readonly string[]): string[] => [
  NONCE_FIELD,
  SEQUENCE_FIELD,
  EVERYTHING_FIELD,
  PATTERNS_FIELD,
  ...tags,
]

const numberIn = (fields: LogFields, name: string): number => Number(fields.get(name) ?? 0)

/** Returns the log, or a new one that is not stored yet. */
function logIn(
  database: MemoryDatabase,
  key: string,
  nonce: OperationArgument,
  sequence: number,
): LogFields {
  const known = database.get<LogFields>(key)
  if (known) return known
  const fields: LogFields = new Map()
  fields.set(NONCE_FIELD, String(nonce))
  fields.set(SEQUENCE_FIELD, String(sequence))
  fields.set(LIFE_FIELD, '0')
  return fields
}

/** Reads fields of a log: HMGET. Replies with their values or null. */
export const readLog: Operation<(string | null)[]> = operation({
  name: 'cache.readLog',
  command: 'HMGET',
  memory(database, [key], names) {
    const fields = database.get<LogFields>(key!)
    return names.map((name) => fields?.get(String(name)) ?? null)
  },
})

/** Creates a log if there is none, and extends its life. Keys, arguments and reply: open-log.lua. */
export const openLog: Operation<string[]> = operation({
  name: 'cache.openLog',
  lua: openLua,
  memory(database, [key], [nonce, given, margin], now) {
    const fields = logIn(database, key!, nonce!, now)
    const life = Math.max(numberIn(fields, LIFE_FIELD), Number(given))
    fields.set(LIFE_FIELD, String(life))
    database.set(key!, fields, life + Number(margin))
    return [fields.get(NONCE_FIELD)!, fields.get(SEQUENCE_FIELD)!, String(life)]
  },
})

/** Invalidates tags, patterns or everything. Keys, arguments and reply: append-invalidation.lua. */
export const appendInvalidation: Operation<string[]> = operation({
  name: 'cache.appendInvalidation',
  lua: appendLua,
  memory(database, [key], [nonce, margin, maxFields, mode, channel, ...names], now) {
    if ((database.get<LogFields>(key!)?.size ?? 0) > Number(maxFields)) database.delete(key!)
    const fields = logIn(database, key!, nonce!, 0)
    const [before, life] = [fields.get(SEQUENCE_FIELD)!, numberIn(fields, LIFE_FIELD)]
    const sequence = String(Math.max(Number(before) + 1, now))
    fields.set(SEQUENCE_FIELD, sequence)
    const fieldNames = names.map(String)
    for (const name of fieldNames) {
      if (mode === 'hard') fields.set(name, sequence)
      else if (mode === 'soft')
        fields.set(name, `${(fields.get(name) ?? '0').split(',')[0]},${sequence}`)
      else addPattern(fields, name, sequence, now - life - Number(margin))
    }
    database.set(key!, fields, life + Number(margin))
    database.publish(
      String(channel),
      JSON.stringify([fields.get(NONCE_FIELD), before, sequence, mode, ...fieldNames]),
    )
    return [fields.get(NONCE_FIELD)!, sequence]
  },
})

function addPattern(fields: LogFields, glob: string, sequence: string, before: number): void {
  const others = (fields.get(PATTERNS_FIELD) ?? '').split('\n').filter((line) => {
    const [at = '', ...rest] = line.split(' ')
    return line !== '' && Number(at) >= before && rest.join(' ') !== glob
  })
  const isFull = others.length + 1 > MAX_PATTERNS
  if (isFull) fields.set(EVERYTHING_FIELD, sequence)
  fields.set(PATTERNS_FIELD, isFull ? '' : [`${sequence} ${glob}`, ...others].join('\n'))
}

/** Drops fields that no living entry is older than. Keys, arguments and reply: prune-log.lua. */
export const pruneLog: Operation<string[]> = operation({
  name: 'cache.pruneLog',
  lua: pruneLua,
  memory(database, [key], [, , margin], now) {
    const fields = database.get<LogFields>(key!)
    if (!fields) return ['0', '0']
    const before = now - numberIn(fields, LIFE_FIELD) - Number(margin)
    let dropped = 0
    for (const [name, value] of fields) {
      if (!/^[tu]:/.test(name) || Math.max(...value.split(',').map(Number)) >= before) continue
      fields.delete(name)
      dropped++
    }
    return ['0', String(dropped)]
  },
})

/** Publishes the log's sequence. Keys, arguments and reply: announce-position.lua. */
export const announcePosition: Operation<number> = operation({
  name: 'cache.announcePosition',
  lua: announceLua,
  memory(database, [key], [channel, id]) {
    const fields = database.get<LogFields>(key!)
    const nonce = fields?.get(NONCE_FIELD) ?? ''
    const sequence = fields?.get(SEQUENCE_FIELD) ?? '0'
    database.publish(String(channel), JSON.stringify(['', id, nonce, sequence]))
    return 1
  },
})
