/** The options of `tp.data`, as they are checked. */
import {
  boolean,
  callback,
  either,
  isFunction,
  isObject,
  text,
  whole,
  type Kind,
} from '../../check.ts'
import { durations } from '../../duration.ts'

export const texts: Kind = {
  expected: 'a list of texts',
  accepts: (value) =>
    Array.isArray(value) && value.every((each) => typeof each === 'string' && each !== ''),
}
const anyText: Kind = { expected: 'a text', accepts: (value) => typeof value === 'string' }
export const WHOSE: Record<string, Kind> = { tenant: anyText }
export const SET: Record<string, Kind> = { ...WHOSE, ttl: durations, tags: texts }
export const FETCH: Record<string, Kind> = {
  ...WHOSE,
  ttl: durations,
  tags: either(texts, callback),
  staleWhileRevalidate: durations,
  staleIfError: durations,
  lockWait: durations,
  lockTtl: durations,
}
export const WRAP: Record<string, Kind> = {
  ...FETCH,
  tenant: either(anyText, callback),
  name: text,
  key: callback,
}
export const SPACE: Record<string, Kind> = {
  ttl: durations,
  compress: either(whole(0), { expected: 'false', accepts: (value) => value === false }),
  serializer: {
    expected: '{ serialize, deserialize }',
    accepts: (value: unknown) =>
      isObject(value) && isFunction(value['serialize']) && isFunction(value['deserialize']),
  },
  near: either(boolean, {
    expected: '{ maxBytes }',
    accepts: (value) => isObject(value) && whole(1).accepts(value['maxBytes']),
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
