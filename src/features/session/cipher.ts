/** Encryption at rest: AES-256-GCM, with keys that can be rotated. */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { Secret } from './id.ts'

const ALGORITHM = 'aes-256-gcm'
const NONCE = 12
const TAG = 16

/** Encrypts with the first key and decrypts with any. */
export class Cipher {
  readonly #keys: readonly Buffer[]

  constructor(secrets: readonly Secret[]) {
    this.#keys = secrets.map((secret) =>
      Buffer.from(hkdfSync('sha256', secret, '', 'turnpike session', 32)),
    )
  }

  /** @param place what the text belongs to: moved elsewhere, it cannot be decrypted */
  encrypt(text: string, place: string): string {
    const nonce = randomBytes(NONCE)
    const cipher = createCipheriv(ALGORITHM, this.#keys[0]!, nonce).setAAD(Buffer.from(place))
    const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
    return Buffer.concat([nonce, cipher.getAuthTag(), body]).toString('base64url')
  }

  /** @throws Error if no key fits */
  decrypt(text: string, place: string): string {
    const bytes = Buffer.from(text, 'base64url')
    let failure: unknown = new Error('there is no key')
    for (const key of this.#keys) {
      try {
        const decipher = createDecipheriv(ALGORITHM, key, bytes.subarray(0, NONCE), {
          authTagLength: TAG,
        })
        decipher.setAAD(Buffer.from(place)).setAuthTag(bytes.subarray(NONCE, NONCE + TAG))
        return (
          decipher.update(bytes.subarray(NONCE + TAG), undefined, 'utf8') + decipher.final('utf8')
        )
      } catch (error) {
        failure = error
      }
    }
    throw failure
  }
}
