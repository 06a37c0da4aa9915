/**
 * Tokens as `prefix_` and base62 with a checksum. Secret scanners recognise them, and a typing error
 * is found without a call to Redis.
 */
import { createHash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import type { Validator } from '../../validate.ts'

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const BASE62 = /^[0-9A-Za-z]+$/
const CHECKSUM_LENGTH = 6

/** Characters that hold 256 bits, and 128 bits. */
export const SECRET_LENGTH = 43
export const TAG_LENGTH = 22

/** Returns a number, given as bytes, in base62. Longer than `length`, it loses its first digits. */
export function base62(bytes: Buffer, length: number): string {
  let rest = BigInt(`0x${bytes.toString('hex')}`)
  let digits = ''
  for (let i = 0; i < length; i++) {
    digits = ALPHABET[Number(rest % 62n)]! + digits
    rest /= 62n
  }
  return digits
}

/** Returns 256 random bits. */
export const newSecret = (): string => base62(randomBytes(32), SECRET_LENGTH)

/** Returns 128 random bits. */
export const newTag = (): string => base62(randomBytes(16), TAG_LENGTH)

/** Returns the SHA-256 of a string. Of a random token it reveals nothing. */
export const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()

/** What a token begins with: `shop_live` makes `shop_live_…`. */
export const tokenPrefix: Validator = {
  expected: "up to 20 lower-case letters, digits and '_', beginning with a letter",
  accepts: (value) =>
    typeof value === 'string' && value.length <= 20 && /^[a-z]([a-z0-9_]*[a-z0-9])?$/.test(value),
}

/** One kind of token: its prefix and the length of its body. */
export class TokenFormat {
  readonly #start: string
  readonly #length: number

  /** @param length of the body, in characters, without prefix and checksum */
  constructor(prefix: string, length: number) {
    this.#start = `${prefix}_`
    this.#length = length
  }

  /** Returns the token with this body. */
  write(body: string): string {
    const token = this.#start + body
    return token + checksumOf(token)
  }

  /** Returns the body of a token. Undefined for everything that is none of this kind. */
  read(token: unknown): string | undefined {
    const length = this.#start.length + this.#length + CHECKSUM_LENGTH
    if (typeof token !== 'string' || token.length !== length) return undefined
    const body = token.slice(this.#start.length, -CHECKSUM_LENGTH)
    if (!token.startsWith(this.#start) || !BASE62.test(body)) return undefined
    return this.write(body) === token ? body : undefined
  }

  /** Returns true if a string has this kind's prefix, valid or not. */
  claims(token: string): boolean {
    return token.startsWith(this.#start)
  }
}

/** CRC-32, in base62: not a signature, since anyone can compute it. */
function checksumOf(text: string): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(crc32(text))
  return base62(bytes, CHECKSUM_LENGTH)
}
