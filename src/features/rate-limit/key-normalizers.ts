/** What the keys of `tp.key` make of a subject that a caller passes: the form in which they return it. */
import type { Subject } from '../../store/keys.ts'
import { normalizeAddress } from './addresses.ts'
import type { KeyFunction } from './options.ts'

/** Returns a subject in the form in which a key returns it. */
export type Normalizer = (subject: Subject) => Subject

interface Normalized {
  readonly normalize: Normalizer
  /** Parts of the key's subjects. Undefined if that varies. */
  readonly parts: number | undefined
}

const normalized: unique symbol = Symbol.for('turnpike.key-normalizer@1') as never
type Marked = { readonly [normalized]?: Normalized }

/** Marks a key with what it makes of a subject. */
export function withNormalizer<Native>(
  key: KeyFunction<Native>,
  parts: number | undefined,
  normalize: Normalizer,
): KeyFunction<Native> {
  return Object.assign(key, { [normalized]: { parts, normalize } })
}

/**
 * Returns a subject in the form in which requests are counted: by `key`, or by address without one.
 * What a function of the application's own makes of it is not known, so it stays as it is.
 */
export function normalizeSubject(
  subject: Subject,
  key: object | undefined,
  ipv6Subnet: number | undefined,
): Subject {
  if (key === undefined) return addressNormalizer(ipv6Subnet)(subject)
  const mark = (key as Marked)[normalized]
  return mark === undefined ? subject : mark.normalize(subject)
}

/** Normalises addresses. What is none stays as it is. */
export const addressNormalizer =
  (ipv6Subnet?: number): Normalizer =>
  (subject) =>
    typeof subject === 'string' ? (normalizeAddress(subject, ipv6Subnet) ?? subject) : subject

/** Returns the normaliser of several keys together, if it is known which parts belong to which. */
export function combinedNormalizer(
  keys: readonly object[],
): [parts: number | undefined, normalize: Normalizer] {
  const marks = keys.map((key) => (key as Marked)[normalized])
  if (!marks.every((mark) => mark?.parts !== undefined)) return [undefined, (subject) => subject]
  const parts = marks.reduce((sum, mark) => sum + mark!.parts!, 0)
  const normalize: Normalizer = (subject) => {
    if (typeof subject === 'string' || subject.length !== parts) return subject
    let from = 0
    return marks.flatMap((mark) => {
      const own = subject.slice(from, (from += mark!.parts!))
      return mark!.normalize(own.length === 1 ? own[0]! : own)
    })
  }
  return [parts, normalize]
}
