/** The identity that a login tries: what counts as one, and which spellings are the same. */
import { createHash } from 'node:crypto'
import { TurnpikeError } from '../../errors.ts'

/** Characters of an identity, before it is normalised. Longer ones are refused without any work. */
export const MAX_IDENTITY_LENGTH = 256

/** Invisible characters, such as zero-width spaces and soft hyphens. */
const INVISIBLE = /\p{Default_Ignorable_Code_Point}/gu

/**
 * Returns an identity in the form in which it is counted. Spellings that a user could take for the
 * same, or that a database could, are the same: it approximates NFKC_Casefold (Unicode 15, 3.13).
 */
export function normalizeIdentity(identity: string): string {
  const visible = identity.normalize('NFKC').replace(INVISIBLE, '')
  // Upper case in between folds what has two lower cases: `ß` and `ss`, `ς` and `σ`.
  return visible.toLowerCase().toUpperCase().toLowerCase().normalize('NFKC').trim()
}

/**
 * Returns the digest of what the guard's `key` returned, or undefined if the client tried no identity.
 * Neither Redis nor a log shows who tried.
 * @throws TP_KEY (400) for what no client sends by accident: lists, objects, and very long strings
 */
export function identityDigest(
  value: unknown,
  normalize: (identity: string) => string,
): string | undefined {
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value === 'number' && Number.isFinite(value)) return digest(String(value))
  if (typeof value !== 'string')
    throw refused(
      `The identity must be a string. It is ${Array.isArray(value) ? 'a list' : `of type ${typeof value}`}.`,
    )
  if (value.length > MAX_IDENTITY_LENGTH)
    throw refused(`The identity is longer than ${MAX_IDENTITY_LENGTH} characters.`)
  const normal: unknown = normalize(value)
  if (typeof normal !== 'string')
    throw new TurnpikeError('TP_VALUE', 'tp.loginGuard(): `normalize` must return a string.')
  return normal === '' ? undefined : digest(normal)
}

const digest = (value: string): string => createHash('sha256').update(value).digest('base64url')

const refused = (message: string): TurnpikeError =>
  new TurnpikeError('TP_KEY', message, { status: 400 })
