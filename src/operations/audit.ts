/** Who has changed what by hand, when and why. */
import type { KeySpace } from '../store/keys.ts'
import { operation, type Operation, type Store } from '../store/store.ts'
import prelude from '../store/whole.lua'
import appendLua from './audit-append.lua'

/** A change that a person has made. */
export interface AuditEntry {
  /** By Redis's clock, in ms since the epoch. */
  readonly at: number
  /** Who made it. */
  readonly by: string
  /** Why, if a reason was given. */
  readonly reason: string | undefined
  /** The command: `locks break`. */
  readonly action: string
  /** What was changed, as the person named it. */
  readonly subject: string
}

/** Number of entries that are kept. */
export const MAX_AUDIT_ENTRIES = 1000
const KEPT_MS = 400 * 86_400_000
/** Characters of each part of an entry. */
const MAX_PART = 500

/** Returns the key of the audit. @param keys of the extension `operations` */
export const auditKey = (keys: KeySpace): string => keys.key('audit', 'all')

/** Appends an entry. Key, arguments and reply: audit-append.lua. */
export const appendAuditEntry: Operation<number> = operation({
  name: 'operations.audit',
  lua: `${prelude}\n${appendLua}`,
  memory(database, [key], [entry, most, ms], now) {
    const list = [`${now} ${String(entry)}`, ...(database.get<readonly string[]>(key!) ?? [])]
    const kept = list.slice(0, Number(most))
    database.set(key!, kept, Number(ms))
    return kept.length
  },
})

/** Notes a change. @throws TP_UNAVAILABLE */
export async function appendAudit(
  store: Pick<Store, 'run'>,
  keys: KeySpace,
  entry: Omit<AuditEntry, 'at'>,
): Promise<void> {
  await store.run(appendAuditEntry, [auditKey(keys)], auditArguments(entry))
}

/** Returns the arguments by which scripts append an entry. */
export function auditArguments({
  action,
  by,
  reason,
  subject,
}: Omit<AuditEntry, 'at'>): (string | number)[] {
  const parts = [by, reason ?? '', action, subject].map((part) => part.slice(0, MAX_PART))
  return [JSON.stringify(parts), MAX_AUDIT_ENTRIES, KEPT_MS]
}

/** Reads the latest entries: LRANGE. */
export const readAuditEntries: Operation<string[]> = operation({
  name: 'operations.auditEntries',
  command: 'LRANGE',
  memory: (database, [key], [first, last]) =>
    (database.get<readonly string[]>(key!) ?? []).slice(Number(first), Number(last) + 1),
})

/** Returns an entry as it was stored, undefined for what is none. Anyone with access can write one. */
export function parseAuditEntry(text: string): AuditEntry | undefined {
  const [, at, json = ''] = /^(\d{1,15}) (.*)$/s.exec(text) ?? []
  let parts: unknown
  try {
    parts = JSON.parse(json)
  } catch {
    return undefined
  }
  if (
    !Array.isArray(parts) ||
    parts.length !== 4 ||
    !parts.every((each) => typeof each === 'string')
  )
    return undefined
  const [by, reason, action, subject] = parts as [string, string, string, string]
  return { at: Number(at), by, reason: reason === '' ? undefined : reason, action, subject }
}
