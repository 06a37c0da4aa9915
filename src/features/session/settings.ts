/** Validates the options of sessions and fills in their defaults. */
import { KeyObject } from 'node:crypto'
import { durationOption, durationValidator, type Duration } from '../../duration.ts'
import {
  anyOf,
  boolean,
  callback,
  integer,
  isFunction,
  isObject,
  nonEmptyString,
  oneOf,
  optionError,
  validateOptions,
  type Validator,
  isListOf,
} from '../../validate.ts'
import { Cipher } from './cipher.ts'
import type { OnConflict } from './merge.ts'
import { nearValidator, type NearSettings } from './near-options.ts'
import type { SessionCookieOptions, SessionStorageOptions } from './options.ts'
import type { RecordOptions } from './record-storage.ts'
import type { StoredForm } from './record.ts'
import { serializerOf, type SessionSerializer } from './serializer.ts'
import type { CookieSettings } from './session-cookie.ts'
import type { Secret } from './session-id.ts'

/** The options of an engine: validated, with their defaults. */
export interface SessionEngineOptions extends RecordOptions {
  /** Names the sessions in events. */
  name: string
  /** The first creates the tags of new sessions. */
  secrets: readonly Secret[]
  /** ms */
  ttl: number
  /** ms; undefined: a tenth of the session's time to live. */
  touchAfter: number | undefined
  serializer: SessionSerializer
  maxBytes: number
  onConflict: OnConflict
  onCorrupt: 'new' | 'error'
  /** Prefix of connect-redis's keys. Undefined: its values are not read. */
  legacyPrefix: string | undefined
  /** The form of new sessions. */
  format: StoredForm
  /** Undefined: every read asks the store. */
  near: NearSettings | undefined
}

/** Returns the length of a secret in characters or bytes. 0 for what is no secret. */
function secretLength(value: unknown): number {
  if (typeof value === 'string') return value.length
  if (ArrayBuffer.isView(value)) return value.byteLength
  return value instanceof KeyObject ? (value.symmetricKeySize ?? 0) : 0
}

const secretValidator = (minLength: number): Validator => ({
  expected:
    minLength > 1
      ? `a string, Buffer or KeyObject of at least ${minLength} characters, or a list of them`
      : 'a string, a Buffer, a KeyObject, or a list of them',
  accepts: (value) => {
    const all: unknown[] = Array.isArray(value) ? value : [value]
    return isListOf(all, (each) => secretLength(each) >= minLength, 1)
  },
})

export const STORAGE_OPTIONS: Record<string, Validator> = {
  ttl: durationValidator,
  touchAfter: durationValidator,
  absoluteTimeout: durationValidator,
  serializer: anyOf(oneOf('json', 'rich'), {
    expected: '{ serialize, deserialize }',
    accepts: (value) =>
      isObject(value) && isFunction(value['serialize']) && isFunction(value['deserialize']),
  }),
  maxBytes: integer(1),
  encrypt: secretValidator(32),
  onConflict: anyOf(oneOf('merge', 'last-write-wins', 'reject'), callback),
  plaintext: oneOf('refuse', 'read', 'write'),
  onCorrupt: oneOf('new', 'error'),
  legacyPrefix: { expected: 'a string', accepts: (value) => typeof value === 'string' },
  format: oneOf('turnpike', 'connect-redis'),
  rewrite: boolean,
}

/** The name of a cookie is a token (RFC 6265, 4.1.1). */
const cookieName: Validator = {
  expected: "a cookie's name: letters, digits and !#$%&'*+-.^_`|~",
  accepts: (value) => typeof value === 'string' && /^[\w!#$%&'*+.^`|~-]+$/.test(value),
}

export const MOUNT_OPTIONS: Record<string, Validator> = {
  ...STORAGE_OPTIONS,
  secret: secretValidator(1),
  name: anyOf(cookieName, {
    expected: 'a list of such names',
    accepts: (value) => isListOf(value, cookieName.accepts, 1),
  }),
  transport: anyOf(oneOf('cookie'), {
    expected: "{ header: 'x-session' }, a header field that is not Cookie or Authorization",
    accepts: (value) =>
      isObject(value) &&
      Object.keys(value).length === 1 &&
      cookieName.accepts(value['header']) &&
      !/^(set-cookie|cookie|(proxy-)?authorization|connection|host)$/i.test(
        String(value['header']),
      ),
  }),
  legacySignature: oneOf('refuse', 'read', 'write'),
  user: callback,
  cookie: anyOf({ expected: 'an object', accepts: isObject }, callback),
  proxy: boolean,
  rolling: boolean,
  resave: boolean,
  saveUninitialized: boolean,
  unset: oneOf('keep', 'destroy'),
  genid: callback,
  maxPerUser: integer(1),
  onOverflow: oneOf('evict-oldest', 'deny'),
  grace: durationValidator,
  lazy: boolean,
  skip: callback,
  fail: oneOf('closed', 'open'),
  reply: callback,
  near: nearValidator,
}

/** The options of `tp.sessionStore()`. */
export const STORE_OPTIONS: Record<string, Validator> = {
  ...STORAGE_OPTIONS,
  near: {
    expected:
      'absent: express-session loads and reloads a session by one method, and a reload must ask Redis. Use tp.session()',
    accepts: () => false,
  },
}

const COOKIE_OPTIONS: Record<string, Validator> = {
  maxAge: anyOf(durationValidator, {
    expected: 'a Date, or false or null for a cookie that ends with the browser session',
    accepts: (value) => value === null || value === false || value instanceof Date,
  }),
  expires: {
    expected: 'a Date, or false or null for a cookie that ends with the browser session',
    accepts: (value) => value === null || value === false || value instanceof Date,
  },
  httpOnly: boolean,
  secure: anyOf(boolean, oneOf('auto')),
  sameSite: anyOf(boolean, oneOf('lax', 'strict', 'none', 'auto')),
  domain: nonEmptyString,
  path: {
    expected: "a path that begins with '/'",
    accepts: (value) => typeof value === 'string' && value.startsWith('/'),
  },
  priority: oneOf('low', 'medium', 'high'),
  partitioned: boolean,
}

/** What a mount knows of its engine beside the storage options. */
export type MountEngineOptions = Pick<
  SessionEngineOptions,
  'name' | 'secrets' | 'maxPerUser' | 'onOverflow' | 'near'
>

/** Returns the options of an engine. The storage options must be validated already. */
export function sessionEngineOptions(
  where: string,
  options: SessionStorageOptions,
  mount: MountEngineOptions,
): SessionEngineOptions {
  const {
    ttl = '24h',
    touchAfter,
    absoluteTimeout,
    serializer = 'json',
    maxBytes = 65_536,
    encrypt,
    plaintext = 'refuse',
    onConflict = 'merge',
    onCorrupt = 'new',
    format = 'turnpike',
    legacyPrefix = format === 'connect-redis' ? 'sess:' : undefined,
    rewrite = false,
  } = options
  if (format === 'connect-redis') rejectUnsupported(where, options, mount)
  if (options.plaintext !== undefined && encrypt === undefined)
    throw optionError(where, 'plaintext', plaintext, 'absent without encrypt')
  return {
    ...mount,
    ttl: lifetimeOption(ttl, where, 'ttl'),
    touchAfter:
      touchAfter === undefined ? undefined : durationOption(touchAfter, where, 'touchAfter', 0),
    absolute:
      absoluteTimeout === undefined ? 0 : lifetimeOption(absoluteTimeout, where, 'absoluteTimeout'),
    serializer: serializerOf(serializer),
    maxBytes,
    cipher: encrypt === undefined ? undefined : new Cipher(listOf(encrypt)),
    plaintext,
    onConflict,
    onCorrupt,
    legacyPrefix,
    format,
    rewrite,
  }
}

/** A lifetime must fit into a record's timestamps of 13 digits, and into the date of a cookie. */
const MAX_LIFETIME_MS = 36_500 * 86_400_000

/** Returns a lifetime in ms. @throws TP_OPTION if it is longer than 100 years */
function lifetimeOption(value: Duration, where: string, option: string): number {
  const ms = durationOption(value, where, option)
  if (ms <= MAX_LIFETIME_MS) return ms
  throw optionError(where, option, value, "at most '36500d' (100 years)")
}

/** @throws TP_OPTION for an option that connect-redis's values have no room for */
function rejectUnsupported(
  where: string,
  { encrypt, absoluteTimeout, serializer }: SessionStorageOptions,
  { maxPerUser, near }: MountEngineOptions,
): void {
  const unsupported: Record<string, unknown> = {
    encrypt,
    absoluteTimeout,
    maxPerUser: maxPerUser || undefined,
    near: near && `${near.ms}ms`,
    serializer: serializer === 'json' ? undefined : serializer,
  }
  for (const [option, value] of Object.entries(unsupported)) {
    if (value !== undefined)
      throw optionError(
        where,
        option,
        value,
        "absent with format: 'connect-redis', whose values have no room for it",
      )
  }
}

export const listOf = (given: Secret | readonly Secret[]): readonly Secret[] =>
  Array.isArray(given) ? (given as readonly Secret[]) : [given as Secret]

/**
 * Validates a cookie's attributes and returns them with their defaults. Times are in ms.
 * @param now the store's clock, ms
 */
export function cookieSettings(
  where: string,
  options: SessionCookieOptions,
  now: number,
): CookieSettings {
  validateOptions(`${where}: cookie`, options, COOKIE_OPTIONS)
  const { maxAge, expires, ...attributes } = options
  const isDuration = typeof maxAge === 'number' || typeof maxAge === 'string'
  const lifetime = isDuration ? lifetimeOption(maxAge, where, 'cookie.maxAge') : maxAge
  for (const [option, date] of [['expires', expires] as const, ['maxAge', lifetime] as const]) {
    // Also for an invalid date.
    if (date instanceof Date && !(date.getTime() > now))
      throw optionError(where, `cookie.${option}`, date.toJSON() ?? date, 'a Date in the future')
  }
  // README of express-session, cookie.expires: of the two the last one of the object counts.
  const names = Object.keys(options)
  const isExpiresLast = names.indexOf('expires') > names.indexOf('maxAge')
  const isExpires = expires !== undefined && (isExpiresLast || lifetime === undefined)
  return {
    httpOnly: true,
    path: '/',
    sameSite: 'lax',
    secure: 'auto',
    ...attributes,
    ...(isExpires && { expires }),
    ...(!isExpires && lifetime !== undefined && { maxAge: lifetime }),
  }
}

/** @throws TP_OPTION for a name whose prefix the cookie's attributes contradict (RFC 6265bis, 4.1.3) */
export function validatePrefix(where: string, name: string, settings: CookieSettings): void {
  const { secure, domain, path = '/' } = settings
  const expected = (what: string): never => {
    throw optionError(where, 'name', name, `a name without this prefix, which requires ${what}`)
  }
  if (/^__(Host|Secure)-/.test(name) && secure === false) expected('cookie.secure')
  if (!name.startsWith('__Host-')) return
  if (domain !== undefined) expected('a cookie without domain')
  if (path !== '/') expected("the cookie.path '/'")
}
