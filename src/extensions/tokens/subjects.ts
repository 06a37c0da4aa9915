/** Subjects of tokens in keys and events: digests, because a subject is often an e-mail address. */
import { TurnpikeError } from '../../errors.ts'
import type { KeyValue } from '../../store/subject.ts'
import { isListOf, nonEmptyString } from '../../validate.ts'
import { base62, sha256, TAG_LENGTH } from './token-format.ts'

/** Returns the tag of a subject; undefined for what identifies no subject: '', NaN, an empty list, an object. */
export function tagOfSubject(subject: unknown): string | undefined {
  const parts = partsOf(subject)
  if (parts === undefined) return undefined
  const digest = sha256(JSON.stringify(parts)).subarray(0, 16)
  return base62(digest, TAG_LENGTH)
}

/** @throws TP_KEY if `subject` is empty or unusable */
export function requireTag(subject: KeyValue, where: string): string {
  const tag = tagOfSubject(subject)
  if (tag !== undefined) return tag
  throw new TurnpikeError(
    'TP_KEY',
    `${where}: the subject must be a string that is not empty, a number, or a list of strings. It tells whose the token is.`,
  )
}

function partsOf(subject: unknown): readonly string[] | undefined {
  if (typeof subject === 'number') return Number.isFinite(subject) ? [String(subject)] : undefined
  if (typeof subject === 'string') return subject === '' ? undefined : [subject]
  return isListOf(subject, nonEmptyString.accepts, 1) ? (subject as string[]) : undefined
}
