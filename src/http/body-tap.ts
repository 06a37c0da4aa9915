/** Sees a whole response as it is at one place of the stack. */
import type { ServerResponse } from 'node:http'
import type { BodyCapture, HeaderFields, SentHead, SentResponse } from './exchange.ts'
import {
  addedFields,
  cloneFields,
  computeFields,
  fieldsOf,
  isBodiless,
  lateFields,
  mergeField,
} from './headers.ts'
import type { LateHeaders, NodeHeaders } from './headers.ts'
import { isDestroyed } from './http2.ts'

/** Strings leave in one piece with the head. Up to this size, copying bytes into one costs less than a second write. */
export const SHORT = 16_384

/** Collects a body, and drops all of it when it grows beyond its limit. */
export class BodyCollector {
  readonly limit: number
  readonly #onOverflow: (() => void) | undefined
  #chunks: Buffer[] | undefined = []
  #size = 0

  /** @param limit in bytes */
  constructor(limit: number, onOverflow?: () => void) {
    this.limit = limit
    this.#onOverflow = onOverflow
  }

  /** Adds a copy of a chunk: its writer may use the memory again. */
  add(chunk: unknown, encoding?: unknown): void {
    if (this.#chunks === undefined) return
    const bytes = bytesOf(chunk, encoding)
    this.#size += bytes.length
    if (this.#size > this.limit) {
      this.#chunks = undefined
      this.#onOverflow?.()
    } else if (bytes.length > 0) this.#chunks.push(bytes === chunk ? Buffer.from(bytes) : bytes)
  }

  /**
   * Returns the whole body; undefined if it was too long, or not as long as Content-Length says.
   * @param length the value of Content-Length, if there is one
   */
  body(length?: unknown): Buffer | undefined {
    if (this.#chunks === undefined) return undefined
    if (length !== undefined && Number(length) !== this.#size) return undefined
    const [first, ...more] = this.#chunks
    return first !== undefined && more.length === 0 ? first : Buffer.concat(this.#chunks)
  }
}

/** Returns whether node's streams take a chunk. */
export const isChunk = (chunk: unknown): boolean =>
  typeof chunk === 'string' || chunk instanceof Uint8Array

/** Returns the bytes of a chunk as node's streams take it: a string with its encoding, bytes, or nothing. */
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

/** One feature's view of the response. */
export class BodyTap {
  readonly collector: BodyCollector
  readonly capture: BodyCapture
  /** The fields at this place, before an inner middleware or handler set one. */
  readonly #before: NodeHeaders
  /** Number of late headers before this place. The later ones belong to inner features. */
  readonly #outer: number
  #head: (SentHead & { length: unknown }) | undefined
  /** The response has been delivered, or is not wanted any more. */
  isDone = false

  constructor(res: ServerResponse, lateHeaders: readonly LateHeaders[], capture: BodyCapture) {
    this.collector = new BodyCollector(capture.limit, capture.onOverflow)
    this.capture = capture
    this.#before = cloneFields(res.getHeaders())
    this.#outer = lateHeaders.length
  }

  /** Returns the fields that inner middlewares, features and the handler have set or will set with the head. */
  fields(res: ServerResponse, lateHeaders: readonly LateHeaders[]): HeaderFields {
    const fields: NodeHeaders = res.getHeaders()
    if (lateHeaders.length === this.#outer) return addedFields(this.#before, fields)
    for (let index = lateHeaders.length - 1; index >= this.#outer; index--) {
      for (const [name, value] of Object.entries(lateFields(lateHeaders[index]!, res))) {
        const field = name.toLowerCase()
        fields[field] = mergeField(field, fields[field], value)
      }
    }
    return addedFields(this.#before, fields)
  }

  /** Returns the head as it is here. */
  head(res: ServerResponse, lateHeaders: readonly LateHeaders[]): SentHead {
    return {
      status: res.statusCode,
      headers: this.fields(res, lateHeaders),
      removed: Object.keys(this.#before).filter((name) => !res.hasHeader(name)),
      field: (name) => this.#field(res, lateHeaders, name),
    }
  }

  /** Returns a field as outer features will complete it when the head is sent. */
  #field(
    res: ServerResponse,
    lateHeaders: readonly LateHeaders[],
    name: string,
  ): string | undefined {
    const read = fieldsOf(res)
    const late = lateHeaders.flatMap((late) =>
      // Computed for this question only: an outer feature may still change its mind.
      Object.entries(computeFields(late, read)).flatMap(([each, value]) =>
        each.toLowerCase() === name ? [value].flat() : [],
      ),
    )
    return [read(name) ?? [], ...late].flat().join(', ') || undefined
  }

  /** Records the head as it is here. An outer compressor changes it later. */
  recordHead(res: ServerResponse, lateHeaders: readonly LateHeaders[]): void {
    // In Koa, the head was seen at its place. Outer middlewares have changed it since.
    if (this.#head !== undefined || this.isDone) return
    const length = res.getHeader('content-length')
    this.#head = { ...this.head(res, lateHeaders), length }
    this.capture.onHead?.(this.#head)
  }

  add(chunk: unknown, encoding: unknown): void {
    if (!this.isDone) this.collector.add(chunk, encoding)
  }

  /** Returns the response; undefined if it is not whole, or was too long. */
  sent(res: ServerResponse): SentResponse | undefined {
    if (this.#head === undefined) return undefined
    const { status, headers, length } = this.#head
    const isEmpty = isBodiless(res.req?.method, status)
    const body = isEmpty ? Buffer.alloc(0) : this.collector.body(length)
    return body && { status, headers, body }
  }

  /** Delivers the response, once, if it is whole. */
  deliver(res: ServerResponse): void {
    if (this.isDone) return
    this.isDone = true
    const sent = isDestroyed(res) && !this.capture.evenIfAborted ? undefined : this.sent(res)
    if (sent !== undefined) this.capture.onComplete(sent)
  }
}
