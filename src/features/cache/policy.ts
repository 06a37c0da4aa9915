/** May a response be stored, and for how long? Pure functions that cite RFC 9111. */
import { directivesOf, secondsOf, type Directives } from './directives.ts'

/** A response as far as its being stored is concerned; names of fields in lower case. */
export interface Candidate {
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[]>>
}

/** What the mount says. Times in ms. */
export interface Rules {
  readonly ttl: number | 'auto'
  readonly negativeTtl: number | undefined
  readonly staleWhileRevalidate: number | undefined
  readonly staleIfError: number | undefined
  /** The share of a `ttl` by which it may be shortened at random, from 0 to 1. */
  readonly jitter: number
  /** Targeted fields (RFC 9213) that go before Cache-Control, in lower case. */
  readonly targeted: readonly string[]
  /** Must an answer to a request with Authorization say itself that it may be shared (3.5)? */
  readonly authorized: boolean
}

/** Stored for so long, in ms; or not, and why. */
export type Verdict =
  | { readonly store: false; readonly why: string }
  | {
      readonly store: true
      readonly freshFor: number
      readonly staleFor: number
      readonly errorFor: number
      readonly initialAge: number
    }

/** Final statuses that are understood here, and whose meaning does not depend on the moment. */
const GOOD = new Set([200, 203, 204, 300, 301, 308])
/** Those that may be stored if the response itself says for how long. */
const EXPLICIT = new Set([...GOOD, 302, 303, 307])
const BAD = new Set([404, 405, 410, 414, 451, 501])

const refuse = (why: string): Verdict => ({ store: false, why })

export const fieldOf = ({ headers }: Candidate, name: string): string | undefined => {
  const value = headers[name]
  return value === undefined || typeof value === 'string' ? value : value.join(', ')
}

/** The rules of sections 3 and 4.2. @param now in ms since the epoch */
export function judge(response: Candidate, rules: Rules, now: number): Verdict {
  const { status } = response
  const auto = rules.ttl === 'auto'
  const bad = BAD.has(status)
  if (bad ? rules.negativeTtl === undefined : !(auto ? EXPLICIT : GOOD).has(status))
    return refuse(`status-${status}`)
  if (response.headers['set-cookie'] !== undefined) return refuse('set-cookie')
  if (varyOf(response).includes('*')) return refuse('vary')
  if (response.headers['content-range'] !== undefined) return refuse('content-range')
  const general = directivesOf(fieldOf(response, 'cache-control'))
  const directives = targetedOf(response, rules) ?? general
  for (const name of ['no-store', 'private', 'no-cache']) {
    // A targeted field overrides Cache-Control, except where that forbids what cannot be taken back.
    if (directives.has(name) || (!auto && general.has(name))) return refuse(name)
  }
  if (
    rules.authorized &&
    !['public', 's-maxage', 'must-revalidate'].some((name) => directives.has(name))
  )
    return refuse('authorization')
  const initialAge = ageOf(response, now)
  const lifetime = auto
    ? explicitLifetime(response, directives, directives !== general, now)
    : rules.ttl
  const limit = bad
    ? Math.min(rules.negativeTtl!, auto ? (lifetime ?? 0) : Infinity)
    : (lifetime ?? 0)
  const freshFor = auto ? limit - initialAge : Math.ceil(limit * (1 - rules.jitter * Math.random()))
  if (!(freshFor > 0)) return refuse('stale')
  // 4.2.4; s-maxage implies proxy-revalidate (5.2.2.10).
  const strict =
    directives.has('must-revalidate') ||
    directives.has('proxy-revalidate') ||
    (auto && directives.has('s-maxage'))
  const lenience = (option: number | undefined, name: string): number =>
    strict ? 0 : (option ?? (auto ? (secondsOf(directives.get(name)) ?? 0) * 1000 : 0))
  return {
    store: true,
    freshFor,
    staleFor: lenience(rules.staleWhileRevalidate, 'stale-while-revalidate'),
    errorFor: lenience(rules.staleIfError, 'stale-if-error'),
    initialAge: auto ? initialAge : 0,
  }
}

/** The first targeted field that is there and can be read (RFC 9213, 2.1). */
function targetedOf(response: Candidate, { ttl, targeted }: Rules): Directives | undefined {
  if (ttl !== 'auto') return undefined
  for (const name of targeted) {
    const directives = directivesOf(fieldOf(response, name))
    if (directives.size > 0) return directives
  }
  return undefined
}

/** 4.2.1, in ms; undefined where the response says nothing. There are no heuristics here (4.2.2 only allows them). */
function explicitLifetime(
  response: Candidate,
  directives: Directives,
  isTargeted: boolean,
  now: number,
): number | undefined {
  for (const name of ['s-maxage', 'max-age']) {
    // What cannot be read counts as stale.
    if (directives.has(name)) return (secondsOf(directives.get(name)) ?? 0) * 1000
  }
  const expires = isTargeted ? undefined : fieldOf(response, 'expires')
  if (expires === undefined) return undefined
  const at = dateOf(expires)
  return at === undefined ? 0 : at - (dateOf(fieldOf(response, 'date')) ?? now)
}

/** How old a response already is (4.2.3), in ms. */
function ageOf(response: Candidate, now: number): number {
  const date = dateOf(fieldOf(response, 'date'))
  const apparent = date === undefined ? 0 : Math.max(0, now - date)
  const [first] = (fieldOf(response, 'age') ?? '').split(',')
  return Math.max(apparent, (secondsOf(first!.trim()) ?? 0) * 1000)
}

const HTTP_DATE =
  /^(?:[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]+, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4})$/

/** An HTTP-date (RFC 9110, 5.6.7) in ms since the epoch. */
export function dateOf(text: string | undefined): number | undefined {
  if (text === undefined || !HTTP_DATE.test(text)) return undefined
  const ms = Date.parse(text.endsWith('GMT') ? text : `${text} GMT`)
  return Number.isNaN(ms) ? undefined : ms
}

/** The names in Vary, in lower case and order. */
export function varyOf(response: Candidate): string[] {
  const names = (fieldOf(response, 'vary') ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
  return [...new Set(names.filter((name) => name !== ''))].sort()
}

/** Fields that are not stored (3.1), besides those that Connection names. */
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

/** The fields of a response that are stored with it. */
export function storedFields(
  response: Candidate,
): [name: string, value: string | readonly string[]][] {
  const named = (fieldOf(response, 'connection') ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
  return Object.entries(response.headers).filter(
    ([name]) => !HOP_BY_HOP.has(name) && !named.includes(name),
  )
}

/** The groups that a response names itself: Cache-Groups (RFC 9875), Surrogate-Key, Cache-Tag. */
export function groupsOf(response: Candidate): string[] {
  const groups = [
    ...(fieldOf(response, 'cache-groups') ?? '').matchAll(/"((?:\\["\\]|[^"\\])*)"/g),
  ].map(([, group]) => group!.replace(/\\(.)/g, '$1'))
  const keys = (fieldOf(response, 'surrogate-key') ?? '').split(/\s+/)
  const tags = (fieldOf(response, 'cache-tag') ?? '').split(',').map((tag) => tag.trim())
  return [...groups, ...keys, ...tags].filter((tag) => tag !== '')
}
