/** Forms of one-time tokens: short codes that people type, and long ones that stand in links. */
import { randomInt } from 'node:crypto'
import type { Validator } from '../../validate.ts'
import { newSecret, SECRET_LENGTH, TAG_LENGTH, TokenFormat } from './token-format.ts'

/**
 * Form of a one-time token: `'digits:6'`, `'letters:8'` (capital consonants that are not mistaken for
 * each other), or `'url'`: 256 random bits for a link.
 */
export type OneTimeFormat = `digits:${number}` | `letters:${number}` | 'url'

/** How tokens of one form are made and read. */
export interface CodeFormat {
  /** True if an attacker may guess one. Wrong ones are counted. */
  readonly isGuessable: boolean
  /** Number of different tokens. */
  readonly size: number
  /** Returns a new token. @param tag whose it is; a long token contains it */
  create(tag: string): string
  /** Returns what a client sent in the form in which it is compared. Undefined if it cannot be a token. */
  read(given: unknown): string | undefined
  /** Returns whose token it is. Undefined where a token does not say. */
  tagOf(read: string): string | undefined
}

/** No vowels, so that no words arise; no L, which looks like 1 and I. */
const LETTERS = 'BCDFGHJKMNPQRSTVWXYZ'
/** What people put between the parts of a code. */
const SEPARATORS = /[\s\u2010-\u2015-]+/g
/** Longer input is no code, however much of it are separators. */
const MAX_INPUT = 64

const FORMAT = /^(digits|letters):(\d{1,2})$/
const BOUNDS = { digits: [6, 12], letters: [6, 32] } as const

/** The option `format`. */
export const codeFormatValidator: Validator = {
  expected: "'url', or 'digits:6' to 'digits:12', or 'letters:6' to 'letters:32'",
  accepts: (value) => value === 'url' || lengthOf(value) !== undefined,
  suggest: (value) =>
    typeof value === 'string' && /^\d+$/.test(value) ? `'digits:${value}'` : undefined,
}

function lengthOf(format: unknown): [kind: 'digits' | 'letters', length: number] | undefined {
  const match = typeof format === 'string' ? FORMAT.exec(format) : null
  if (match === null) return undefined
  const kind = match[1] as 'digits' | 'letters'
  const [least, most] = BOUNDS[kind]
  const length = Number(match[2])
  return length >= least && length <= most ? [kind, length] : undefined
}

/** @param prefix of long tokens. Short codes have none. */
export function codeFormatOf(format: OneTimeFormat, prefix: string): CodeFormat {
  const short = lengthOf(format)
  return short === undefined ? linkFormat(prefix) : shortFormat(...short)
}

function shortFormat(kind: 'digits' | 'letters', length: number): CodeFormat {
  const alphabet = kind === 'digits' ? '0123456789' : LETTERS
  const whole = new RegExp(`^[${alphabet}]{${length}}$`)
  return {
    isGuessable: true,
    size: alphabet.length ** length,
    create: () => Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join(''),
    read(given) {
      if (typeof given !== 'string' || given.length > MAX_INPUT) return undefined
      const code = given.normalize('NFKC').replaceAll(SEPARATORS, '').toUpperCase()
      return whole.test(code) ? code : undefined
    },
    tagOf: () => undefined,
  }
}

function linkFormat(prefix: string): CodeFormat {
  const tokens = new TokenFormat(prefix, TAG_LENGTH + SECRET_LENGTH)
  return {
    isGuessable: false,
    size: Infinity,
    create: (tag) => tokens.write(tag + newSecret()),
    read: (given) => (tokens.read(given) === undefined ? undefined : (given as string)),
    tagOf: (read) => tokens.read(read)?.slice(0, TAG_LENGTH),
  }
}
