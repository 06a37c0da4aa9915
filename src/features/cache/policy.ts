/** Whether a response may be stored, and for how long: pure functions that cite RFC 9111. */
import { directivesOf, secondsOf, type Directives } from './directives.ts'
import type { CacheReason } from './reasons.ts'

/** A response that may be stored. Names of fields are in lower case. */
export interface Candidate {
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[]>>
}

/** What the options of a mount say about storing. Times in ms. */
export interface StoragePolicy {
  readonly ttl: number | 'auto'
  readonly negativeTtl: number | undefined
  readonly staleWhileRevalidate: number | undefined
  readonly staleIfError: number | undefined
  /** The part of `ttl` by which it may be shortened at random, from 0 to 1. */
  readonly jitter: number
  /** Targeted fields (RFC 9213) that override Cache-Control, in lower case. */
  readonly targeted: readonly string[]
  /** True if the response is the same for every client. */
  readonly isPublic: boolean
}

/**
 * To which requests a stored response may be sent: to anonymous ones; also to those with
 * Authorization (3.5); to all.
 */
export type Sharing = 'anonymous' | 'authorized' | 'public'

/** Returns whether a stored response may be sent. @param sender what makes the request personal */
export const maySend = (sharing: Sharing, sender: CacheReason | undefined): boolean =>
  sender === undefined ||
  sharing === 'public' ||
  (sharing === 'authorized' && sender === 'authorization')

/** Whether a response is stored: for how long, in ms, or why not. */
export type StorageVerdict = StorageRefusal | StorageTerms

/** Why a response is not stored. */
export interface StorageRefusal {
  readonly isStored: false
  readonly reason: CacheReason
}

/** For how long a response is stored, in ms. */
export interface StorageTerms {
  readonly isStored: true
  readonly sharing: Sharing
  readonly freshFor: number
  /** After it was fresh: how long it may be served while it is revalidated, and instead of an error. */
  readonly staleFor: number
  readonly errorFor: number
  readonly initialAge: number
}

/** Statuses that are cacheable by default (RFC 9110, 15.1), errors and parts apart. */
const GOOD = new Set([200, 203, 204, 300, 301, 308])
/** Statuses that are stored if the response says for how long. */
const EXPLICIT = new Set([...GOOD, 302, 303, 307])
/** Errors that `negativeTtl` stores. */
const BAD = new Set([404, 405, 410, 414, 451, 501])

const refuse = (reason: CacheReason): StorageRefusal => ({ isStored: false, reason })

/** Returns a field. Several of one name are joined with a comma. */
export const fieldOf = ({ headers }: Candidate, name: string): string | undefined => {
  const value = headers[name]
  return value === undefined || typeof value === 'string' ? value : value.join(', ')
}

/**
 * Decides by sections 3 and 4.2.
 * @param sender what makes the request personal
 * @param now in ms since the epoch
 */
export function judgeResponse(
  response: Candidate,
  policy: StoragePolicy,
  sender: CacheReason | undefined,
  now: number,
): StorageVerdict {
  const { status } = response
  const auto = policy.ttl === 'auto'
  const bad = BAD.has(status)
  if (bad ? policy.negativeTtl === undefined : !(auto ? EXPLICIT : GOOD).has(status))
    return refuse('status')
  if (varyOf(response).includes('*')) return refuse('vary')
  if (response.headers['content-range'] !== undefined) return refuse('content-range')
  const general = directivesOf(fieldOf(response, 'cache-control'))
  const directives = targetedOf(response, policy) ?? general
  for (const name of ['no-store', 'private', 'no-cache'] as const) {
    if (directives.has(name)) return refuse(name)
  }
  const sharing = policy.isPublic ? 'public' : sharingOf(directives, auto)
  if (sender !== undefined && !maySend(sharing, sender)) return refuse(sender)
  const initialAge = initialAgeOf(response, now)
  const lifetime = auto
    ? explicitLifetime(response, directives, directives !== general, now)
    : policy.ttl
  const limit = bad
    ? Math.min(policy.negativeTtl!, auto ? (lifetime ?? 0) : Infinity)
    : (lifetime ?? 0)
  const freshFor = auto
    ? limit - initialAge
    : Math.ceil(limit * (1 - policy.jitter * Math.random()))
  if (!(freshFor > 0)) return refuse('freshness')
  // 4.2.4; s-maxage implies proxy-revalidate (5.2.2.10).
  const strict =
    directives.has('must-revalidate') ||
    directives.has('proxy-revalidate') ||
    (auto && directives.has('s-maxage'))
  const lenience = (option: number | undefined, name: string): number =>
    strict ? 0 : (option ?? (auto ? (secondsOf(directives.get(name)) ?? 0) * 1000 : 0))
  return {
    isStored: true,
    sharing,
    freshFor,
    staleFor: lenience(policy.staleWhileRevalidate, 'stale-while-revalidate'),
    errorFor: lenience(policy.staleIfError, 'stale-if-error'),
    initialAge: auto ? initialAge : 0,
  }
}

/** With a fixed ttl, only `public` says that a response is not personal. */
function sharingOf(directives: Directives, auto: boolean): Sharing {
  if (directives.has('public')) return 'public'
  const mayBeShared = directives.has('s-maxage') || directives.has('must-revalidate')
  return auto && mayBeShared ? 'authorized' : 'anonymous'
}

/** Returns the first targeted field that can be read (RFC 9213, 2.1). */
function targetedOf(response: Candidate, { ttl, targeted }: StoragePolicy): Directives | undefined {
  if (ttl !== 'auto') return undefined
  for (const name of targeted) {
    const directives = directivesOf(fieldOf(response, name))
    if (directives.size > 0) return directives
  }
  return undefined
}

/** Returns the lifetime by section 4.2.1, in ms. Undefined: the response does not say. */
function explicitLifetime(
  response: Candidate,
  directives: Directives,
  isTargeted: boolean,
  now: number,
): number | undefined {
  for (const name of ['s-maxage', 'max-age']) {
    // A lifetime that cannot be read counts as stale.
    if (directives.has(name)) return (secondsOf(directives.get(name)) ?? 0) * 1000
  }
  const expires = isTargeted ? undefined : fieldOf(response, 'expires')
  if (expires === undefined) return undefined
  const at = dateOf(expires)
  return at === undefined ? 0 : at - (dateOf(fieldOf(response, 'date')) ?? now)
}

/** Returns the age of a response when it arrives (4.2.3), in ms. */
function initialAgeOf(response: Candidate, now: number): number {
  const date = dateOf(fieldOf(response, 'date'))
  const apparent = date === undefined ? 0 : Math.max(0, now - date)
  const [first] = (fieldOf(response, 'age') ?? '').split(',')
  return Math.max(apparent, (secondsOf(first!.trim()) ?? 0) * 1000)
}

const HTTP_DATE =
  /^(?:[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]+, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4})$/

/** Returns an HTTP-date (RFC 9110, 5.6.7) in ms since the epoch. */
export function dateOf(text: string | undefined): number | undefined {
  if (text === undefined || !HTTP_DATE.test(text)) return undefined
  const ms = Date.parse(text.endsWith('GMT') ? text : `${text} GMT`)
  return Number.isNaN(ms) ? undefined : ms
}

/** Returns the names in Vary, in lower case and sorted. */
export function varyOf(response: Candidate): string[] {
  const names = (fieldOf(response, 'vary') ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
  return [...new Set(names.filter((name) => name !== ''))].sort()
}

/** Fields that are not stored (3.1). Those that Connection names are not, either. */
const HOP_BY_HOP = new Set([
  'age',
  'connection',
  'content-length',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Returns the fields of a response that are stored with it. */
export function endToEndFields(
  response: Candidate,
): [name: string, value: string | readonly string[]][] {
  const named = (fieldOf(response, 'connection') ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
  return Object.entries(response.headers).flatMap(([name, value]) => {
    if (HOP_BY_HOP.has(name) || named.includes(name)) return []
    const kept = name === 'cache-status' ? ofOtherCaches(value) : value
    return kept === '' ? [] : [[name, kept]]
  })
}

/** Returns the members of Cache-Status that are not about this package's handling of one request. */
const ofOtherCaches = (value: string | readonly string[]): string =>
  [value]
    .flat()
    .flatMap((line) => line.split(','))
    .filter((member) => !/^\s*turnpike\b/.test(member))
    .join(',')
    .trim()

/** Returns the groups that a response names: Cache-Groups (RFC 9875), Surrogate-Key, Cache-Tag. */
export function groupsOf(response: Candidate): string[] {
  const groups = [
    ...(fieldOf(response, 'cache-groups') ?? '').matchAll(/"((?:\\["\\]|[^"\\])*)"/g),
  ].map(([, group]) => group!.replace(/\\(.)/g, '$1'))
  const keys = (fieldOf(response, 'surrogate-key') ?? '').split(/\s+/)
  const tags = (fieldOf(response, 'cache-tag') ?? '').split(',').map((tag) => tag.trim())
  return [...groups, ...keys, ...tags].filter((tag) => tag !== '')
}
