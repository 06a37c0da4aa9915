/** The Cache-Control field (RFC 9111, 5.2) and the targeted fields (RFC 9213). */

/** Directives by name in lower case. The value is the argument, or true if there is none. */
export type Directives = ReadonlyMap<string, string | true>

/** Repeated directives of these names count with their smallest value. */
const SMALLEST = new Set([
  'max-age',
  's-maxage',
  'stale-while-revalidate',
  'stale-if-error',
  'max-stale',
])

/** Blanks and semicolons are mistakes: `private; max-age=0` still means that nobody else gets it. */
const SEPARATORS = ' \t,;="'

/**
 * Reads the field. Names are case-insensitive, and each argument may be quoted (5.2). If directives
 * contradict each other, the stricter counts (4.2.1). Takes linear time, whatever a client sends.
 */
export function directivesOf(field: string | undefined): Directives {
  const directives = new Map<string, string | true>()
  if (!field) return directives
  let at = 0
  while (at < field.length) {
    if (isAny(field, at, SEPARATORS)) {
      at++
      continue
    }
    const name = until(field, at, SEPARATORS)
    at += name.length
    let value: string | true = true
    const equals = skipBlanks(field, at)
    if (field[equals] === '=') {
      at = skipBlanks(field, equals + 1)
      const quoted = field[at] === '"' ? quotedString(field, at) : undefined
      value = quoted?.value ?? until(field, at, ' \t,;"')
      at = quoted?.end ?? at + value.length
    }
    const known = directives.get(name.toLowerCase())
    const next = known === undefined ? value : stricter(name.toLowerCase(), known, value)
    directives.set(name.toLowerCase(), next)
  }
  return directives
}

const isAny = (field: string, at: number, characters: string): boolean =>
  characters.includes(field[at]!)

function until(field: string, start: number, stops: string): string {
  let end = start
  while (end < field.length && !isAny(field, end, stops)) end++
  return field.slice(start, end)
}

function skipBlanks(field: string, start: number): number {
  let at = start
  while (at < field.length && isAny(field, at, ' \t')) at++
  return at
}

/** Reads a quoted string (RFC 9110, 5.6.4). Undefined if it does not end. */
function quotedString(field: string, start: number): { value: string; end: number } | undefined {
  let value = ''
  for (let at = start + 1; at < field.length; at++) {
    if (field[at] === '"') return { value, end: at + 1 }
    if (field[at] === '\\') at++
    value += field[at] ?? ''
  }
  return undefined
}

function stricter(name: string, a: string | true, b: string | true): string | true {
  if (SMALLEST.has(name)) return String(Math.min(secondsOf(a) ?? 0, secondsOf(b) ?? 0))
  if (name === 'min-fresh') return String(Math.max(secondsOf(a) ?? 0, secondsOf(b) ?? 0))
  // Without an argument the directive is about the whole response.
  return a === true || b === true ? true : `${a}, ${b}`
}

const MAX_SECONDS = 2 ** 31

/** Reads delta-seconds (RFC 9111, 1.2.2), up to 2^31. Undefined for anything else. */
export function secondsOf(value: string | true | undefined): number | undefined {
  return typeof value === 'string' && /^\d+$/.test(value)
    ? Math.min(Number(value), MAX_SECONDS)
    : undefined
}
