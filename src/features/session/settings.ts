/** Validates the options of sessions and fills in their defaults. */
import { durationOption, durationValidator } from '../../duration.ts'
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
} from '../../validate.ts'
import { Cipher } from './cipher.ts'
import type { SessionEngineOptions } from './engine.ts'
import type { SessionCookieOptions, SessionStorageOptions } from './options.ts'
import { serializerOf } from './serializer.ts'
import type { CookieSettings } from './session-cookie.ts'
import type { Secret } from './session-id.ts'

const isSecret = (value: unknown): boolean =>
  (typeof value === 'string' || Buffer.isBuffer(value)) && value.length > 0

const secretValidator = (minLength: number): Validator => ({
  expected:
    minLength > 1
      ? `a string or Buffer of at least ${minLength} characters, or a list of them`
      : 'a string, a Buffer, or a list of them',
  accepts: (value) => {
    const all: unknown[] = Array.isArray(value) ? value : [value]
    return (
      all.length > 0 && all.every((each) => isSecret(each) && (each as string).length >= minLength)
    )
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
  onCorrupt: oneOf('new', 'error'),
  legacyPrefix: { expected: 'a string', accepts: (value) => typeof value === 'string' },
  format: oneOf('turnpike', 'connect-redis'),
}

/** The name of a cookie is a token (RFC 6265, 4.1.1). */
const cookieName: Validator = {
  expected: "a cookie's name: letters, digits and !#$%&'*+-.^_`|~",
  accepts: (value) => typeof value === 'string' && /^[\w!#$%&'*+.^`|~-]+$/.test(value),
}

export const MOUNT_OPTIONS: Record<string, Validator> = {
  ...STORAGE_OPTIONS,
  secret: secretValidator(1),
  name: cookieName,
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
  'name' | 'secrets' | 'maxPerUser' | 'onOverflow'
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
    onConflict = 'merge',
    onCorrupt = 'new',
    legacyPrefix,
    format = 'turnpike',
  } = options
  if (format === 'connect-redis') rejectUnsupported(where, options, mount)
  return {
    ...mount,
    ttl: durationOption(ttl, where, 'ttl'),
    touchAfter:
      touchAfter === undefined ? undefined : durationOption(touchAfter, where, 'touchAfter', 0),
    absolute:
      absoluteTimeout === undefined ? 0 : durationOption(absoluteTimeout, where, 'absoluteTimeout'),
    serializer: serializerOf(serializer),
    maxBytes,
    cipher: encrypt === undefined ? undefined : new Cipher(listOf(encrypt)),
    onConflict,
    onCorrupt,
    legacyPrefix,
    format,
  }
}

/** @throws TP_OPTION for an option that connect-redis's values have no room for */
function rejectUnsupported(
  where: string,
  { encrypt, absoluteTimeout, serializer }: SessionStorageOptions,
  { maxPerUser }: MountEngineOptions,
): void {
  const unsupported: Record<string, unknown> = {
    encrypt,
    absoluteTimeout,
    maxPerUser: maxPerUser || undefined,
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
  typeof given === 'string' || Buffer.isBuffer(given) ? [given] : given

/** Validates a cookie's attributes and returns them with their defaults. Times are in ms. */
export function cookieSettings(where: string, options: SessionCookieOptions): CookieSettings {
  validateOptions(`${where}: cookie`, options, COOKIE_OPTIONS)
  const { maxAge, ...attributes } = options
  const isDuration = typeof maxAge === 'number' || typeof maxAge === 'string'
  const lifetime = isDuration ? durationOption(maxAge, where, 'cookie.maxAge') : maxAge
  return {
    httpOnly: true,
    path: '/',
    sameSite: 'lax',
    secure: 'auto',
    ...attributes,
    ...(lifetime !== undefined && { maxAge: lifetime }),
  }
}
