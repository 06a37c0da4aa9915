/** The options of `tp.data`, as they are checked. */
import {
  boolean,
  callback,
  anyOf,
  isFunction,
  isObject,
  nonEmptyString,
  integer,
  type Validator,
} from '../../validate.ts'
import { durationValidator } from '../../duration.ts'

export const texts: Validator = {
  expected: 'a list of texts',
  accepts: (value) =>
    Array.isArray(value) && value.every((each) => typeof each === 'string' && each !== ''),
}
const anyText: Validator = { expected: 'a text', accepts: (value) => typeof value === 'string' }
export const WHOSE: Record<string, Validator> = { tenant: anyText }
export const SET: Record<string, Validator> = { ...WHOSE, ttl: durationValidator, tags: texts }
export const FETCH: Record<string, Validator> = {
  ...WHOSE,
  ttl: durationValidator,
  tags: anyOf(texts, callback),
  staleWhileRevalidate: durationValidator,
  staleIfError: durationValidator,
  wait: durationValidator,
  lease: durationValidator,
}
export const WRAP: Record<string, Validator> = {
  ...FETCH,
  tenant: anyOf(anyText, callback),
  name: nonEmptyString,
  key: callback,
}
export const SPACE: Record<string, Validator> = {
  ttl: durationValidator,
  compress: anyOf(integer(0), { expected: 'false', accepts: (value) => value === false }),
  serializer: {
    expected: '{ serialize, deserialize }',
    accepts: (value: unknown) =>
      isObject(value) && isFunction(value['serialize']) && isFunction(value['deserialize']),
  },
  near: anyOf(boolean, {
    expected: '{ maxBytes }',
    accepts: (value) => isObject(value) && integer(1).accepts(value['maxBytes']),
  }),
}
export const NEAR_BYTES: number = 32 * 1024 * 1024

/** The default time to live, in ms: RESPONSE_CACHE_TTL is in seconds. */
export function ttlFromEnvironment(): number {
  const seconds = Number(process.env['RESPONSE_CACHE_TTL'])
  return seconds > 0 && seconds < Infinity ? seconds * 1000 : 3_600_000
}

/** The key at the end of what it is stored under; undefined for leases, and for what is hashed. */
export function readableIn(stored: string): string | undefined {
  const readable = stored.slice(stored.indexOf('}:') + 2)
  if (readable.includes(':') || readable.startsWith('~')) return undefined
  try {
    return decodeURIComponent(readable)
  } catch {
    return undefined
  }
}
