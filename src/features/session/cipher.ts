/** Encryption at rest: AES-256-GCM with key rotation. */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { Secret } from './session-id.ts'

const ALGORITHM = 'aes-256-gcm'
const NONCE_BYTES = 12
const AUTH_TAG_BYTES = 16

/** Encrypts with the first key, decrypts with any. */
export class Cipher {
  readonly #keys: readonly Buffer[]

  constructor(secrets: readonly Secret[]) {
    this.#keys = secrets.map((secret) =>
      Buffer.from(hkdfSync('sha256', secret, '', 'turnpike session', 32)),
    )
  }

  /** @param context what the text belongs to. Under another context it cannot be decrypted */
  encrypt(text: string, context: string): string {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv(ALGORITHM, this.#keys[0]!, nonce).setAAD(Buffer.from(context))
    const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
    return Buffer.concat([nonce, cipher.getAuthTag(), body]).toString('base64url')
  }

  /**
   * Returns the plaintext, and whether it was encrypted with another key than the first.
   * @throws Error if no key fits
   */
  decrypt(text: string, context: string): { plaintext: string; isOutdated: boolean } {
    const bytes = Buffer.from(text, 'base64url')
    const nonce = bytes.subarray(0, NONCE_BYTES)
    const authTag = bytes.subarray(NONCE_BYTES, NONCE_BYTES + AUTH_TAG_BYTES)
    const body = bytes.subarray(NONCE_BYTES + AUTH_TAG_BYTES)
    let failure: unknown = new Error('There is no key.')
    for (const [index, key] of this.#keys.entries()) {
      try {
        const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: AUTH_TAG_BYTES })
        decipher.setAAD(Buffer.from(context)).setAuthTag(authTag)
        const plaintext = decipher.update(body, undefined, 'utf8') + decipher.final('utf8')
        return { plaintext, isOutdated: index > 0 }
      } catch (error) {
        failure = error
      }
    }
    throw failure
  }
}
