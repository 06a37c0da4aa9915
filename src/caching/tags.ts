/** What entries are invalidated by, as fields of the invalidation log. */
import { createHash } from 'node:crypto'
import { TurnpikeError } from '../errors.ts'

/** A tag of the application. `5` and `'5'` are one tag. */
export type Tag = string | number

/** Tags of one entry, its own URL and key included. Every lookup reads them, so their number is bounded. */
export const MAX_ENTRY_TAGS = 1_000

const MAX_PLAIN_LENGTH = 200

/** Returns a digest of strings. Each is hashed with its length, so that no two lists have one digest. */
export function digest(parts: readonly string[]): string {
  const hash = createHash('sha256')
  for (const each of parts) hash.update(`${each.length}:`).update(JSON.stringify(each))
  return hash.digest('base64url').slice(0, 32)
}

/** Returns whether a value can be a tag: a string that is not empty, or a finite number. */
export const isTag = (value: unknown): value is Tag =>
  typeof value === 'string' ? value !== '' : typeof value === 'number' && Number.isFinite(value)

/**
 * Returns the log's fields for tags of the application, each once.
 * @param where the call that named them, for the error
 * @throws TP_VALUE for what is no list, and for a member that is no tag
 */
export function tagFields(tags: unknown, where: string): string[] {
  if (!Array.isArray(tags)) throw valueError(where, 'Tags must be a list', tags)
  const fields = new Set<string>()
  for (const tag of tags as readonly unknown[]) {
    if (!isTag(tag))
      throw valueError(where, 'A tag must be a non-empty string or a finite number', tag)
    fields.add(tagField(String(tag)))
  }
  return [...fields]
}

const tagField = (tag: string): string =>
  tag.length <= MAX_PLAIN_LENGTH ? `t:${tag}` : `t:~${digest([tag])}`

function valueError(where: string, expected: string, value: unknown): TurnpikeError {
  const shown = typeof value === 'string' ? `'${value.slice(0, 60)}'` : typeof value
  const kind = Number.isNaN(value) ? 'NaN' : value === null ? 'null' : shown
  return new TurnpikeError('TP_VALUE', `${where}: ${expected}; it is ${kind}.`)
}
