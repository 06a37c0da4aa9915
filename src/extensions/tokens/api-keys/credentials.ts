/** The API key of a request: where it stands, and its digest. */
import type { Exchange, HeaderFields } from '../../../http/exchange.ts'
import { sha256, type TokenFormat } from '../token-format.ts'

export type Credentials =
  | { readonly kind: 'none' }
  | { readonly kind: 'key'; readonly digest: string }
  | { readonly kind: 'invalid'; readonly detail: string }

/** Visible ASCII (RFC 6750, 2.1, and beyond), without the comma that joins repeated fields. */
const ANY_KEY = /^[!-+\--~]{1,256}$/
const MAX_FIELD = 512
const BEARER = /^bearer +/i

/** Reads API keys, and tells clients how to send them. */
export class CredentialReader {
  readonly #fields: readonly string[]
  readonly #format: TokenFormat
  readonly #isStrict: boolean

  /** @param isStrict refuse what is no key of this format */
  constructor(fields: readonly string[], format: TokenFormat, isStrict: boolean) {
    this.#fields = fields
    this.#format = format
    this.#isStrict = isStrict
  }

  read(x: Pick<Exchange, 'header'>): Credentials {
    let found: string | undefined
    for (const field of this.#fields) {
      const key = this.#keyIn(field, x.header(field))
      if (key === undefined || key === found) continue
      if (found !== undefined)
        return { kind: 'invalid', detail: 'The request carries two different API keys.' }
      found = key
    }
    if (found === undefined) return { kind: 'none' }
    const isKey = this.#isStrict ? this.#format.read(found) !== undefined : ANY_KEY.test(found)
    return isKey
      ? { kind: 'key', digest: sha256(found).toString('hex') }
      : { kind: 'invalid', detail: 'This is not an API key. It may have been copied incompletely.' }
  }

  /** @returns undefined for a field that holds something else, for example a JWT */
  #keyIn(field: string, value: string | undefined): string | undefined {
    if (value === undefined) return undefined
    // Cut off behind blanks, what follows them would not count.
    const text = value.trim().slice(0, MAX_FIELD)
    if (field !== 'authorization') return text || undefined
    if (!BEARER.test(text)) return undefined
    const key = text.replace(BEARER, '')
    return this.#isStrict && !this.#format.claims(key) ? undefined : key || undefined
  }

  /** Returns the field that tells a client how to authenticate (RFC 9110, 11.6.1; RFC 6750, 3). */
  challenge(parameters = ''): HeaderFields {
    const scheme = this.#fields.includes('authorization') ? 'Bearer' : 'ApiKey'
    const realm = `${scheme} realm="api"`
    return { 'WWW-Authenticate': parameters === '' ? realm : `${realm}, ${parameters}` }
  }
}
