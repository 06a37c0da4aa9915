/** The record of invalidations: what was invalidated, and when by one sequence. */
import {
  operation,
  type OperationArgument,
  type MemoryDatabase,
  type Operation,
} from '../store/store.ts'
import beatLua from './announce-position.lua'
import invalidateLua from './append-invalidation.lua'
import openLua from './open-log.lua'
import pruneLua from './prune-log.lua'

/** What the in-process engine keeps. */
export type LogFields = Map<string, string>

/** Names of fields that are no tag. */
export const NONCE_FIELD = '!'
export const SEQUENCE_FIELD = '#'
export const EVERYTHING_FIELD = '*'
export const PATTERNS_FIELD = '?'
const LIFE = '~'

/** What a lookup asks of the record for the sake of these tags; see `snapshotOf`. */
export const logFieldsFor = (tags: readonly string[]): string[] => [
  NONCE_FIELD,
  SEQUENCE_FIELD,
  EVERYTHING_FIELD,
  PATTERNS_FIELD,
  ...tags,
]

const MOST_GLOBS = 16

const numberIn = (fields: LogFields, name: string): number => Number(fields.get(name) ?? 0)

function begun(
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
  fields.set(LIFE, '0')
  return fields
}

/** Reads fields of a record: HMGET. Replies their texts, or null. */
export const readLog: Operation<(string | null)[]> = operation({
  name: 'cache.readRecord',
  command: 'HMGET',
  memory(database, [key], names) {
    const fields = database.get<LogFields>(key!)
    return names.map((name) => fields?.get(String(name)) ?? null)
  },
})

/** Makes sure that a record is there and lives long enough. Keys, arguments and reply: open.lua. */
export const openLog: Operation<string[]> = operation({
  name: 'cache.openRecord',
  lua: openLua,
  memory(database, [key], [nonce, given, margin], now) {
    const fields = begun(database, key!, nonce!, now)
    const life = Math.max(numberIn(fields, LIFE), Number(given))
    fields.set(LIFE, String(life))
    database.set(key!, fields, life + Number(margin))
    return [fields.get(NONCE_FIELD)!, fields.get(SEQUENCE_FIELD)!, String(life)]
  },
})

/** Invalidates tags, patterns or everything. Keys, arguments and reply: invalidate.lua. */
export const appendInvalidation: Operation<string[]> = operation({
  name: 'cache.invalidate',
  lua: invalidateLua,
  memory(database, [key], [nonce, margin, cap, mode, channel, ...names], now) {
    if ((database.get<LogFields>(key!)?.size ?? 0) > Number(cap)) database.delete(key!)
    const fields = begun(database, key!, nonce!, 0)
    const [before, life] = [fields.get(SEQUENCE_FIELD)!, numberIn(fields, LIFE)]
    const sequence = String(Math.max(Number(before) + 1, now))
    fields.set(SEQUENCE_FIELD, sequence)
    const texts = names.map(String)
    for (const name of texts) {
      if (mode === 'hard') fields.set(name, sequence)
      else if (mode === 'soft')
        fields.set(name, `${(fields.get(name) ?? '0').split(',')[0]},${sequence}`)
      else addGlob(fields, name, sequence, now - life - Number(margin))
    }
    database.set(key!, fields, life + Number(margin))
    database.publish(
      String(channel),
      JSON.stringify([fields.get(NONCE_FIELD), before, sequence, mode, ...texts]),
    )
    return [fields.get(NONCE_FIELD)!, sequence]
  },
})

function addGlob(fields: LogFields, glob: string, sequence: string, before: number): void {
  const others = (fields.get(PATTERNS_FIELD) ?? '').split('\n').filter((line) => {
    const [at = '', ...rest] = line.split(' ')
    return line !== '' && Number(at) >= before && rest.join(' ') !== glob
  })
  const isFull = others.length + 1 > MOST_GLOBS
  if (isFull) fields.set(EVERYTHING_FIELD, sequence)
  fields.set(PATTERNS_FIELD, isFull ? '' : [`${sequence} ${glob}`, ...others].join('\n'))
}

/** Drops what is too old to matter, some fields at a time. Keys, arguments and reply: prune.lua. */
export const pruneLog: Operation<string[]> = operation({
  name: 'cache.pruneRecord',
  lua: pruneLua,
  memory(database, [key], [, , margin], now) {
    const fields = database.get<LogFields>(key!)
    if (!fields) return ['0', '0']
    const before = now - numberIn(fields, LIFE) - Number(margin)
    let dropped = 0
    for (const [name, value] of fields) {
      if (!/^[tu]:/.test(name) || Math.max(...value.split(',').map(Number)) >= before) continue
      fields.delete(name)
      dropped++
    }
    return ['0', String(dropped)]
  },
})

/** Says aloud where the sequence stands. Keys, arguments and reply: beat.lua. */
export const announcePosition: Operation<number> = operation({
  name: 'cache.beat',
  lua: beatLua,
  memory(database, [key], [channel, id]) {
    const fields = database.get<LogFields>(key!)
    const news = ['', id, fields?.get(NONCE_FIELD) ?? '', fields?.get(SEQUENCE_FIELD) ?? '0']
    database.publish(String(channel), JSON.stringify(news))
    return 1
  },
})
