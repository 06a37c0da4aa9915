/** Bytes that are cheaper to copy into a text, which is sent with the head, than to be sent beside it. */
export const SHORT = 16_384

/** Collects a body, and lets go of all of it as soon as it outgrows its limit. */
export class Capture {
  readonly limit: number
  readonly #over: (() => void) | undefined
  #chunks: Buffer[] | undefined = []
  #size = 0

  /**
   * @param limit in bytes
   * @param over is called when the body has outgrown it
   */
  constructor(limit: number, over?: () => void) {
    this.limit = limit
    this.#over = over
  }

  /** Take a copy: whoever wrote the chunk may use its memory again. */
  add(chunk: unknown, encoding?: unknown): void {
    if (this.#chunks === undefined) return
    const bytes = bytesOf(chunk, encoding)
    this.#size += bytes.length
    if (this.#size > this.limit) {
      this.#chunks = undefined
      this.#over?.()
    } else if (bytes.length > 0) this.#chunks.push(bytes === chunk ? Buffer.from(bytes) : bytes)
  }

  /**
   * The whole body; undefined when it was too long, or not as long as `length` says.
   *
   * @param length the value of Content-Length, if there is one
   */
  body(length?: unknown): Buffer | undefined {
    if (this.#chunks === undefined) return undefined
    if (length !== undefined && Number(length) !== this.#size) return undefined
    const [first, ...more] = this.#chunks
    return first !== undefined && more.length === 0 ? first : Buffer.concat(this.#chunks)
  }
}

/** A chunk as node's streams take it: text with its encoding, bytes, or nothing. */
export function bytesOf(chunk: unknown, encoding?: unknown): Buffer {
  if (typeof chunk === 'string') {
    return Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8')
  }
  if (Buffer.isBuffer(chunk)) return chunk
  if (chunk instanceof Uint8Array) {
    return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  }
  return Buffer.alloc(0)
}
