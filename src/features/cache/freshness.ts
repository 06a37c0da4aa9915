/** How long a response is fresh, by its own fields (RFC 9111, 4.2): pure functions. */
import { parseDictionary } from 'structured-headers'
import { directivesOf, secondsOf, type Directives } from './directives.ts'

/** A response that may be stored. Names of fields are in lower case. */
export interface Candidate {
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[]>>
}

/** Returns a field. Several of one name are joined with a comma. */
export const fieldOf = ({ headers }: Candidate, name: string): string | undefined => {
  const value = headers[name]
  return value === undefined || typeof value === 'string' ? value : value.join(', ')
}

/** Directives whose argument is a number of seconds. */
const IN_SECONDS = ['max-age', 's-maxage', 'stale-while-revalidate', 'stale-if-error']

/**
 * Returns the directives of the first targeted field that is valid and not empty (RFC 9213, 2.2). A
 * field with one error is ignored whole: a part of it could say the opposite.
 */
export function targetedDirectives(
  response: Candidate,
  names: readonly string[],
): Directives | undefined {
  for (const name of names) {
    const directives = strictDirectivesOf(fieldOf(response, name))
    if (directives !== undefined && directives.size > 0) return directives
  }
  return undefined
}

/** Reads a Dictionary (RFC 8941, 3.2). Undefined: it cannot be read, or an argument has another type. */
function strictDirectivesOf(field: string | undefined): Directives | undefined {
  if (field === undefined) return undefined
  const directives = new Map<string, string | true>()
  try {
    for (const [name, [value]] of parseDictionary(field)) {
      if (value === false) continue
      const isSeconds = Number.isInteger(value) && (value as number) >= 0
      if (IN_SECONDS.includes(name) && !isSeconds) return undefined
      directives.set(name, value === true ? true : String(value))
    }
  } catch {
    return undefined
  }
  return directives
}

/** How long a response is fresh, and what it says about that. */
export interface Freshness {
  readonly directives: Directives
  /** In ms since it was made. Undefined: the response does not say. */
  readonly lifetime: number | undefined
}

/** Reads the fields of a response. @param now in ms since the epoch */
export function freshnessOf(
  response: Candidate,
  targeted: readonly string[],
  now: number,
): Freshness {
  const directives = targetedDirectives(response, targeted)
  if (directives !== undefined) return { directives, lifetime: maxAgeIn(directives) }
  const general = directivesOf(fieldOf(response, 'cache-control'))
  return { directives: general, lifetime: maxAgeIn(general) ?? untilExpires(response, now) }
}

/** A lifetime that cannot be read counts as stale (4.2.1). */
function maxAgeIn(directives: Directives): number | undefined {
  for (const name of ['s-maxage', 'max-age'])
    if (directives.has(name)) return (secondsOf(directives.get(name)) ?? 0) * 1000
  return undefined
}

function untilExpires(response: Candidate, now: number): number | undefined {
  const expires = fieldOf(response, 'expires')
  if (expires === undefined) return undefined
  const at = dateOf(expires)
  // An invalid date is in the past (5.3).
  return at === undefined ? 0 : at - (dateOf(fieldOf(response, 'date')) ?? now)
}

/** Statuses that are cacheable by default (RFC 9110, 15.1). 206 is not stored. */
const HEURISTIC = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])
const MAX_HEURISTIC = 24 * 3_600_000

/**
 * Returns a lifetime for a response that names none (4.2.2): a tenth of the time for which it had not
 * changed, up to a day. Undefined: there is none.
 */
export function heuristicLifetime(
  response: Candidate,
  directives: Directives,
  now: number,
): number | undefined {
  if (!HEURISTIC.has(response.status) && !directives.has('public')) return undefined
  const modified = dateOf(fieldOf(response, 'last-modified'))
  if (modified === undefined) return undefined
  const date = dateOf(fieldOf(response, 'date')) ?? now
  return Math.min(Math.max(0, (date - modified) / 10), MAX_HEURISTIC)
}

/** Returns the age of a response when it arrives (4.2.3), in ms. */
export function initialAgeOf(response: Candidate, now: number): number {
  const date = dateOf(fieldOf(response, 'date'))
  const apparent = date === undefined ? 0 : Math.max(0, now - date)
  // A list counts by its first member, and what is no number not at all (5.1).
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
