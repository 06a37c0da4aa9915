/** Signed session IDs: `s:<id>.<HMAC-SHA-256>`, as express-session writes them. */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Secret } from './session-id.ts'

/**
 * What a signature covers. `'named'`: the ID and the name that it is sent under, so that the ID is not
 * accepted under another name. `'express'`: the ID alone, as in express-session.
 */
export type SignatureForm = 'named' | 'express'

/** A value that was verified. */
export interface VerifiedId {
  readonly id: string
  /** Index of the secret that signed it. */
  readonly secret: number
  readonly form: SignatureForm
}

/** Prefixes that only add conditions to a cookie (RFC 6265bis, 4.1.3). They are no part of its name here. */
const COOKIE_PREFIX = /^__(?:Host|Secure)-/

function signatureOf(id: string, secret: Secret, name: string, form: SignatureForm): string {
  const hmac = createHmac('sha256', secret)
  if (form === 'named') hmac.update(`turnpike\0${name.replace(COOKIE_PREFIX, '')}\0`)
  return hmac.update(id).digest('base64').replace(/=+$/, '')
}

/** Signs an ID. @param name the cookie or header field that it is sent in */
export const signId = (id: string, secret: Secret, name: string, form: SignatureForm): string =>
  `s:${id}.${signatureOf(id, secret, name, form)}`

/** Length of a signature: 32 bytes in base64, without padding. */
const SIGNATURE_LENGTH = 43

/** Splits a signed value. Undefined if it does not have the shape of one. */
export function parseSigned(value: string): { id: string; signature: string } | undefined {
  const dot = value.lastIndexOf('.')
  if (!value.startsWith('s:') || dot < 3 || value.length - dot - 1 !== SIGNATURE_LENGTH)
    return undefined
  return { id: value.slice(2, dot), signature: value.slice(dot + 1) }
}

/**
 * Verifies a signed value. Undefined if no secret has signed it.
 * @param name the cookie or header field that it came in
 * @param forms the forms that are accepted
 */
export function verifyId(
  value: string,
  name: string,
  secrets: readonly Secret[],
  forms: readonly SignatureForm[],
): VerifiedId | undefined {
  const parsed = parseSigned(value)
  if (!parsed) return undefined
  const given = Buffer.from(parsed.signature)
  for (const [index, secret] of secrets.entries()) {
    for (const form of forms) {
      const expected = Buffer.from(signatureOf(parsed.id, secret, name, form))
      if (expected.length === given.length && timingSafeEqual(expected, given))
        return { id: parsed.id, secret: index, form }
    }
  }
  return undefined
}
