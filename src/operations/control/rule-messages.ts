/** Versions of the rules, and messages about them. Anyone may publish one: expect any string. */
import { parseRuleId } from '../../control/rule-table.ts'

/** The message that asks processes which version they hold. No version is equal to it. */
export const QUESTION = '?'

/** A version. It ends with the ID of the rule that was written last. */
const VERSION = /^\d{1,15}\.[\w-]{1,40} (.+)$/

/** Returns the number of writes that a version counts. */
export const writesOf = (version: string): number => Number(/^\d+/.exec(version)?.[0] ?? 0)

/** Returns the ID of the rule that was written last, undefined if it is not that of a rule. */
export function writtenId(version: string): string | undefined {
  const [, id] = VERSION.exec(version) ?? []
  return id !== undefined && parseRuleId(id) !== undefined ? id : undefined
}

/** A change as a message announces it. */
export interface AnnouncedChange {
  readonly version: string
  readonly before: string
}

/** Returns the change that a message announces, undefined if it announces none. */
export function parseAnnouncement(message: string): AnnouncedChange | undefined {
  const [version = '', before] = message.split('\n', 2)
  return before === undefined ? undefined : { version, before }
}

/** Returns true if there is no other change between two versions. */
export const follows = (version: string, before: string): boolean =>
  writesOf(version) === writesOf(before) + 1
