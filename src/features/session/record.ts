/** A session as it is stored: a header of fixed width, metadata, and the data. */
import { parseStoredJson } from '../../stored-json.ts'
import type { CookieData } from './session-cookie.ts'

/** What is stored beside the data. An absent member costs no byte. */
export interface SessionMeta {
  /** ID of the user that the session belongs to. */
  user?: string
  /** The client's address at login. */
  ip?: string
  /** The client's user agent at login. */
  agent?: string
  /** The session's cookie, if it differs from the mount's settings. Null: it was stored without one. */
  cookie?: CookieData | null
  /** The session that took this one's place. */
  successor?: Successor
}

/** What the record of a replaced session says about its successor. It is dead with it. */
export interface Successor {
  /** The successor's ID, encrypted with the ID of this session. Only its client can read it. */
  sealedId: string
  /** True if a request with the old ID continues with the successor. Otherwise it gets the old data. */
  follow: boolean
}

/** In which form a session is stored: as a record of this file, or as connect-redis stores it. */
export type StoredForm = 'turnpike' | 'connect-redis'

/** A session that was read from the store. */
export interface StoredSession {
  /** The data as the serializer wrote it, without the cookie. */
  readonly data: string
  readonly meta: SessionMeta
  /** What an update must still find: the record's version, or connect-redis's whole value. */
  readonly version: string
  /** ms since the epoch by the store's clock; 0 if the value does not say. */
  readonly created: number
  /** When it ends even if it is used; 0: never. */
  readonly endsAt: number
  /** When its time to live was last renewed. */
  readonly touched: number
  readonly form: StoredForm
  readonly isEncrypted: boolean
  /** True if an older key has encrypted it. */
  readonly hasOldKey: boolean
}

/**
 * The length of the header. Its fields, by the positions that the scripts use (from 1):
 *
 *     1      'J': plaintext, 'E': encrypted
 *     2      'u': belongs to a user, '-': anonymous, 'r': replaced, which can no longer be changed
 *     3-8    version
 *     9-21   created, ms
 *     22-34  absolute expiry, ms, 0: none
 *     35-47  touched, ms
 */
export const HEADER_LENGTH = 47
const HEADER_PATTERN = /^[JE][ur-]\d{45}$/

export interface RecordHeader {
  readonly isEncrypted: boolean
  readonly isOwned: boolean
  readonly isReplaced: boolean
  readonly version: string
  readonly created: number
  readonly endsAt: number
  readonly touched: number
}

/** Parses the header of a record. Undefined if the text has none. */
export function parseHeader(text: string): RecordHeader | undefined {
  if (!HEADER_PATTERN.test(text.slice(0, HEADER_LENGTH))) return undefined
  return {
    isEncrypted: text[0] === 'E',
    isOwned: text[1] === 'u',
    isReplaced: text[1] === 'r',
    version: text.slice(2, 8),
    created: Number(text.slice(8, 21)),
    endsAt: Number(text.slice(21, 34)),
    touched: Number(text.slice(34, 47)),
  }
}

const timestamp = (ms: number): string => String(ms).padStart(13, '0')

/** Formats a header as the scripts do. @param kind its first two characters */
export const formatHeader = (
  kind: string,
  version: string,
  created: number,
  endsAt: number,
  touched: number,
): string => `${kind}${version}${timestamp(created)}${timestamp(endsAt)}${timestamp(touched)}`

/** Formats the times of a session that continues under another ID, as save.lua takes them. */
export const formatTimes = ({ created, endsAt }: StoredSession): string =>
  timestamp(created) + timestamp(endsAt)

export const FIRST_VERSION = '000001'

/** Returns the version after `version`. */
export const nextVersion = (version: string): string =>
  String((Number(version) + 1) % 1_000_000).padStart(6, '0')

/** Writes metadata and data as one text. A line feed, which JSON never contains, separates them. */
export function pack(meta: SessionMeta, data: string): string {
  const { user, ip, agent, cookie, successor } = meta
  if (user === undefined && cookie === undefined && successor === undefined) return `\n${data}`
  const { sealedId, follow } = successor ?? {}
  return `${JSON.stringify({ u: user, i: ip, a: agent, c: cookie, s: sealedId, f: follow })}\n${data}`
}

/** Reads what `pack` wrote. @throws SyntaxError for any other text */
export function unpack(text: string): { meta: SessionMeta; data: string } {
  const end = text.indexOf('\n')
  if (end < 0) throw new SyntaxError('The first line is missing.')
  const data = text.slice(end + 1)
  if (end === 0) return { meta: {}, data }
  const { u, i, a, c, s, f } = parseStoredJson(text.slice(0, end)) as Record<string, unknown>
  return {
    meta: {
      ...(typeof u === 'string' && { user: u }),
      ...(typeof i === 'string' && { ip: i }),
      ...(typeof a === 'string' && { agent: a }),
      ...(typeof c === 'object' && { cookie: c as CookieData | null }),
      ...(typeof s === 'string' && { successor: { sealedId: s, follow: f === true } }),
    },
    data,
  }
}
