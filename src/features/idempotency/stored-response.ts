/**
 * A stored response as one string: its status, a space, its headers as JSON; a line feed and its
 * body, unless that was too long.
 */
import { isAscii } from 'node:buffer'
import { validateHeaderName, validateHeaderValue } from 'node:http'

export type StoredHeaders = Record<string, string | readonly string[]>

export interface StoredResponse {
  status: number
  headers: StoredHeaders
  /** Undefined if it was too long to store. */
  body: Buffer | undefined
}

const LINE_FEED = 0x0a

/** Serializes a response. ASCII becomes a string: a command of strings costs half of one with bytes. */
export function serializeResponse({ status, headers, body }: StoredResponse): string | Buffer {
  const head = `${status} ${JSON.stringify(headers)}`
  if (body === undefined) return head
  if (isAscii(body)) return `${head}\n${body.toString('latin1')}`
  return Buffer.concat([Buffer.from(`${head}\n`), body])
}

/** Returns a stored response; undefined if what is stored is none. */
export function parseResponse(stored: unknown): StoredResponse | undefined {
  if (!Buffer.isBuffer(stored)) return undefined
  const end = stored.indexOf(LINE_FEED)
  const head = end < 0 ? stored : stored.subarray(0, end)
  const status = Number(head.toString('latin1', 0, 3))
  if (!(status >= 200 && status <= 599)) return undefined
  try {
    const headers: unknown = JSON.parse(head.toString('utf8', 4))
    if (typeof headers !== 'object' || headers === null || Array.isArray(headers)) return undefined
    for (const [name, value] of Object.entries(headers as StoredHeaders)) {
      validateHeaderName(name)
      if (typeof value === 'string') validateHeaderValue(name, value)
      else for (const each of value) validateHeaderValue(name, each)
    }
    return {
      status,
      headers: headers as StoredHeaders,
      body: end < 0 ? undefined : stored.subarray(end + 1),
    }
  } catch {
    return undefined
  }
}
