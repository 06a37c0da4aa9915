/** How rules are stored. Keys, arguments and replies: see the Lua files. */
import { keyPart, type KeySpace } from '../../store/keys.ts'
import { operation, type MemoryDatabase, type Operation, type Store } from '../../store/store.ts'
import prelude from '../../store/whole.lua'
import { appendAuditEntry } from '../audit.ts'
import clearLua from './clear-rules.lua'
import versionLua from './rules-version.lua'
import writeLua from './write-rule.lua'

/** The field of the version. No ID of a rule is equal to it. */
export const VERSION_FIELD = '!'
/** Redis forgets rules that no process has read or written for this long, in ms. */
export const RULES_TTL: number = 400 * 86_400_000

const MINUTE_MS = 60_000
/** Rules of one page. Redis is busy with it for less than a millisecond. */
export const RULES_OF_PAGE = 500
/** Fields after which no further page is read. A process keeps no more than 10,000 of them. */
export const MAX_FIELDS_READ = 20_000

/** All keys of the control share the audit's hash slot: one script writes both. */
const ALL = 'all'

/** Returns the key of the rules. @param keys of the extension `operations` */
export const rulesKey = (keys: KeySpace): string => keys.key('rules', keyPart(ALL))
/** Returns the key of the times of the last bans. */
export const lastBansKey = (keys: KeySpace): string => keys.key('last-bans', keyPart(ALL))
/** Returns the key of the audit of bans. Otherwise a flood of them would displace what people did. */
export const banAuditKey = (keys: KeySpace): string => keys.key('audit-bans', keyPart(ALL))
/** Returns the channel of changes of rules. */
export const rulesChannel = (keys: KeySpace): string => keys.channel('rules', ALL)

/** The rules as the in-process engine keeps them: by ID, with their version. */
interface StoredRules {
  readonly fields: Map<string, string>
  readonly keptUntil: number
}

/** Sets or removes a rule. */
export const writeRule: Operation<(number | string)[]> = operation({
  name: 'operations.rule',
  lua: `${prelude}\n${writeLua}`,
  memory(database, [key, audit, bans], args, now) {
    const [id, details, ms, most, ttl, nonce, channel, entry, mostEntries, auditTtl, mostBans] =
      args
    const stored = database.get<StoredRules>(key!)
    const fields = stored?.fields ?? new Map<string, string>()
    const [name, isRemoval] = [String(id), details === '']
    if (isRemoval && !fields.has(name)) return [0]
    const lastBans = bans === undefined ? [] : (database.get<readonly number[]>(bans) ?? [])
    if (bans !== undefined) {
      const known = fields.get(name)
      if (known !== undefined && !hasEnded(known, now)) return [-2]
      const oldest = lastBans[Number(mostBans) - 1]
      if (oldest !== undefined && oldest > now - MINUTE_MS) return [-3]
    }
    if (stored !== undefined && !fields.has(name) && fields.size > Number(most)) {
      for (const [field, rule] of fields)
        if (field !== VERSION_FIELD && hasEnded(rule, now)) fields.delete(field)
      keepRules(database, key!, fields, stored.keptUntil - now, now)
      if (fields.size > Number(most)) return [-1]
    }
    const before = fields.get(VERSION_FIELD) ?? ''
    const ends = Number(ms) > 0 ? now + Number(ms) : 0
    const rule = isRemoval ? '' : `${now} ${ends} ${String(details)}`
    if (isRemoval) fields.delete(name)
    else fields.set(name, rule)
    const count = Number(/^(\d+)\./.exec(before)?.[1] ?? 0)
    const version = `${count + 1}.${String(nonce)} ${name}`
    fields.set(VERSION_FIELD, version)
    keepRules(database, key!, fields, Number(ttl), now)
    appendAuditEntry.memory(database, [audit!], [entry!, mostEntries!, auditTtl!], now)
    if (bans !== undefined)
      database.set(bans, [now, ...lastBans].slice(0, Number(mostBans)), MINUTE_MS)
    database.publish(String(channel), `${version}\n${before}`)
    return [1, version, before, rule]
  },
})

/** Removes all rules, or those of bans. */
export const clearRules: Operation<number> = operation({
  name: 'operations.clearRules',
  lua: `${prelude}\n${clearLua}`,
  memory(database, [key, audit], args, now) {
    const [which, ttl, nonce, channel, entry, mostEntries, auditTtl] = args
    const stored = database.get<StoredRules>(key!)
    if (stored === undefined) return 0
    const removed = [...stored.fields].filter(
      ([id, rule]) =>
        id !== VERSION_FIELD && (which === 'all' || /"ban":"[A-Za-z0-9_.-]+"\}$/.test(rule)),
    )
    if (removed.length === 0) return 0
    for (const [id] of removed) stored.fields.delete(id)
    const before = stored.fields.get(VERSION_FIELD) ?? ''
    const count = Number(/^(\d+)\./.exec(before)?.[1] ?? 0)
    const version = `${count + 1}.${String(nonce)} *`
    stored.fields.set(VERSION_FIELD, version)
    keepRules(database, key!, stored.fields, Number(ttl), now)
    appendAuditEntry.memory(database, [audit!], [entry!, mostEntries!, auditTtl!], now)
    database.publish(String(channel), `${version}\n${before}`)
    return removed.length
  },
})

/** Returns the version of the rules, '' if there are none. */
export const readRulesVersion: Operation<string> = operation({
  name: 'operations.rulesVersion',
  lua: `${prelude}\n${versionLua}`,
  memory(database, [key], [ttl], now) {
    const stored = database.get<StoredRules>(key!)
    const version = stored?.fields.get(VERSION_FIELD) ?? ''
    if (stored !== undefined && version !== '' && stored.keptUntil - now < Number(ttl) / 2)
      keepRules(database, key!, stored.fields, Number(ttl), now)
    return version
  },
})

/** Reads the version and one rule: HMGET. */
export const readRule: Operation<(string | null)[]> = operation({
  name: 'operations.readRule',
  command: 'HMGET',
  memory: (database, [key], fields) =>
    fields.map((field) => database.get<StoredRules>(key!)?.fields.get(String(field)) ?? null),
})

/**
 * Reads a page of the rules: HSCAN. Arguments: cursor, 'COUNT', number of fields. Replies the next
 * cursor, and fields and values in turn.
 */
const readRulePage: Operation<[cursor: string, fields: string[]]> = operation({
  name: 'operations.rules',
  command: 'HSCAN',
  large: true,
  memory: (database, [key]) => ['0', [...(database.get<StoredRules>(key!)?.fields ?? [])].flat()],
})

/**
 * Reads all rules and their version, by ID, in pages: one reply with 10,000 rules would keep Redis
 * busy for 5 to 15 ms. A rule that changes meanwhile is read as it was before or after.
 * @throws TP_UNAVAILABLE, TP_COMMAND
 */
export async function readRules(
  store: Pick<Store, 'run'>,
  key: string,
): Promise<{ rules: Map<string, string>; pages: number }> {
  const rules = new Map<string, string>()
  let [cursor, pages] = ['0', 0]
  do {
    const [next, fields] = await store.run(readRulePage, [key], [cursor, 'COUNT', RULES_OF_PAGE])
    for (let i = 0; i + 1 < fields.length; i += 2) rules.set(fields[i]!, fields[i + 1]!)
    cursor = next
    pages++
    // Another program with access to Redis may store millions of them.
  } while (cursor !== '0' && rules.size < MAX_FIELDS_READ)
  return { rules, pages }
}

/** Reads all rules as they are together. Undefined if they were changed while they were read. */
export async function readRulesAt(
  version: string,
  store: Pick<Store, 'run'>,
  key: string,
): Promise<ReadonlyMap<string, string> | undefined> {
  if (version === '') return new Map()
  const { rules, pages } = await readRules(store, key)
  // One page is of one moment.
  if (pages === 1) return rules
  const after = await store.run(readRulesVersion, [key], [RULES_TTL])
  // The field of the version may be on a page that was not read.
  return after === version ? rules.set(VERSION_FIELD, version) : undefined
}

const hasEnded = (rule: string, now: number): boolean => {
  const ends = Number(/^\d+ (\d+) /.exec(rule)?.[1] ?? 0)
  return ends > 0 && ends <= now
}

function keepRules(
  database: MemoryDatabase,
  key: string,
  fields: Map<string, string>,
  ttl: number,
  now: number,
): void {
  const stored: StoredRules = { fields, keptUntil: now + ttl }
  database.set(key, stored, ttl)
}
