/**
 * A stored response as one string: its status, a space, its headers as JSON, in a list with the names
 * that it removed if there are any; a line feed and its body, unless that was too long.
 */
import { isAscii } from 'node:buffer'
import { validateHeaderName, validateHeaderValue } from 'node:http'

export type StoredHeaders = Record<string, string | readonly string[]>

export interface StoredResponse {
  status: number
  headers: StoredHeaders
  /** Names of fields that outer middlewares have set, and that it must not have. */
  removed: readonly string[]
  /** Undefined if it was too long to store. */
  body: Buffer | undefined
}

const LINE_FEED = 0x0a

/** Serializes a response. ASCII becomes a string: a command of strings costs half of one with bytes. */
export function serializeResponse(response: StoredResponse): string | Buffer {
  const { status, headers, removed, body } = response
  const head = `${status} ${JSON.stringify(removed.length > 0 ? [headers, removed] : headers)}`
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
    const fields: unknown = JSON.parse(head.toString('utf8', 4))
    const [headers, removed = []] = (Array.isArray(fields) ? fields : [fields]) as unknown[]
    if (typeof headers !== 'object' || headers === null || Array.isArray(headers)) return undefined
    if (!Array.isArray(removed)) return undefined
    for (const name of removed) validateHeaderName(name as string)
    for (const [name, value] of Object.entries(headers as StoredHeaders)) {
      validateHeaderName(name)
      if (typeof value === 'string') validateHeaderValue(name, value)
      else for (const each of value) validateHeaderValue(name, each)
    }
    return {
      status,
      headers: headers as StoredHeaders,
      removed,
      body: end < 0 ? undefined : stored.subarray(end + 1),
    }
  } catch {
    return undefined
  }
}
