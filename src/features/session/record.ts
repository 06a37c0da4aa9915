/** One session as it stands in the store: a header of fixed width, who and where, and the data. */
import type { CookieData } from './cookie.ts'

/** What is kept beside the data; nothing of it costs a byte where it is not there. */
export interface Meta {
  /** Whose session it is. */
  user?: string
  /** The address and the user agent at login. */
  ip?: string
  agent?: string
  /** The session's cookie, where it is not the mount's. */
  cookie?: CookieData
}

/** A session that was read. */
export interface Stored {
  /** The data as the serializer wrote it, without the cookie. */
  readonly data: string
  readonly meta: Meta
  /** What an update must still find: our version, or the whole text of a value that connect-redis wrote. */
  readonly version: string
  /** Milliseconds since the epoch by the store's clock; 0 where the value does not say. */
  readonly created: number
  /** When it ends however often it is touched; 0: never. */
  readonly until: number
  /** When its time to live was last renewed. */
  readonly touched: number
  /** Written by connect-redis, under its own key. */
  readonly foreign: boolean
}

/** The width of the header. Its fields, with the scripts' positions counted from 1:
 *  1      'J': JSON in the clear, 'E': encrypted
 *  2      'u': a user's, '-': nobody's
 *  3-8    version
 *  9-21   created, ms
 *  22-34  absolute expiry, ms, 0: none
 *  35-47  touched, ms */
export const HEADER = 47
const SHAPE = /^[JE][u-]\d{45}$/

export interface Header {
  readonly encrypted: boolean
  readonly owned: boolean
  readonly version: string
  readonly created: number
  readonly until: number
  readonly touched: number
}

/** The header of a blob, or undefined if that is none of ours. */
export function headerOf(blob: string): Header | undefined {
  if (!SHAPE.test(blob.slice(0, HEADER))) return undefined
  return {
    encrypted: blob[0] === 'E',
    owned: blob[1] === 'u',
    version: blob.slice(2, 8),
    created: Number(blob.slice(8, 21)),
    until: Number(blob.slice(21, 34)),
    touched: Number(blob.slice(34, 47)),
  }
}

const padded = (ms: number): string => String(ms).padStart(13, '0')

/** A header, as the scripts write it. @param kind its first two characters */
export const headed = (
  kind: string,
  version: string,
  created: number,
  until: number,
  touched: number,
): string => `${kind}${version}${padded(created)}${padded(until)}${padded(touched)}`

export const FIRST_VERSION = '000001'

/** The version after `version`. */
export const versionAfter = (version: string): string =>
  String((Number(version) + 1) % 1_000_000).padStart(6, '0')

/** Who and where, a line feed (which JSON never holds), and the data. */
export function packed({ user, ip, agent, cookie }: Meta, data: string): string {
  if (user === undefined && cookie === undefined) return `\n${data}`
  return `${JSON.stringify({ u: user, i: ip, a: agent, c: cookie })}\n${data}`
}

/** @throws SyntaxError for what `packed` never made */
export function unpacked(text: string): { meta: Meta; data: string } {
  const end = text.indexOf('\n')
  if (end < 0) throw new SyntaxError('a session without its first line')
  const data = text.slice(end + 1)
  if (end === 0) return { meta: {}, data }
  const { u, i, a, c } = JSON.parse(text.slice(0, end)) as Record<string, never>
  return {
    meta: {
      ...(u !== undefined && { user: u }),
      ...(i !== undefined && { ip: i }),
      ...(a !== undefined && { agent: a }),
      ...(c !== undefined && { cookie: c }),
    },
    data,
  }
}
