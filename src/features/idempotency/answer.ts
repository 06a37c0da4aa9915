/** A stored answer as one text: its status, a space, its headers as JSON; a line feed and its body, unless that was too long. */
import { isAscii } from 'node:buffer'
import { validateHeaderName, validateHeaderValue } from 'node:http'

export type AnswerHeaders = Record<string, string | readonly string[]>

/** A stored answer. */
export interface Answer {
  status: number
  headers: AnswerHeaders
  /** Undefined: it was too long to keep. */
  body: Buffer | undefined
}

const LINE_FEED = 0x0a

/** Text where that says the same: a command that is text altogether is put together at half the cost. */
export function packed({ status, headers, body }: Answer): string | Buffer {
  const head = `${status} ${JSON.stringify(headers)}`
  if (body === undefined) return head
  if (isAscii(body)) return `${head}\n${body.toString('latin1')}`
  return Buffer.concat([Buffer.from(`${head}\n`), body])
}

/** A stored answer, or undefined if somebody else has written there. */
export function unpacked(stored: unknown): Answer | undefined {
  if (!Buffer.isBuffer(stored)) return undefined
  const end = stored.indexOf(LINE_FEED)
  const head = end < 0 ? stored : stored.subarray(0, end)
  const status = Number(head.toString('latin1', 0, 3))
  if (!(status >= 200 && status <= 599)) return undefined
  try {
    const headers: unknown = JSON.parse(head.toString('utf8', 4))
    if (typeof headers !== 'object' || headers === null || Array.isArray(headers)) return undefined
    for (const [name, value] of Object.entries(headers)) {
      validateHeaderName(name)
      for (const each of [value].flat()) validateHeaderValue(name, each)
    }
    return {
      status,
      headers: headers as AnswerHeaders,
      body: end < 0 ? undefined : stored.subarray(end + 1),
    }
  } catch {
    return undefined
  }
}
