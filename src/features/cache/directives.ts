/** The Cache-Control field (RFC 9111, 5.2) and its targeted siblings (RFC 9213). */

/** Directives by name in lower case, with their argument, if they have one. */
export type Directives = ReadonlyMap<string, string | true>

const DIRECTIVE = /[\s,]*([^\s=,"]+)(?:\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^\s,"]*)))?[^,]*/g
/** Of these, more is laxer: the least counts where they are repeated. */
const LAX = new Set([
  'max-age',
  's-maxage',
  'stale-while-revalidate',
  'stale-if-error',
  'max-stale',
])

/**
 * Reads the field. Names are case-insensitive, arguments may be quoted either way (5.2), and of
 * directives that contradict each other the stricter counts (4.2.1).
 */
export function directivesOf(field: string | undefined): Directives {
  const directives = new Map<string, string | true>()
  if (!field) return directives
  DIRECTIVE.lastIndex = 0
  for (let match = DIRECTIVE.exec(field); match; match = DIRECTIVE.exec(field)) {
    const name = match[1]!.toLowerCase()
    const value = match[2]?.replace(/\\(.)/g, '$1') ?? match[3] ?? true
    const known = directives.get(name)
    directives.set(name, known === undefined ? value : stricter(name, known, value))
  }
  return directives
}

function stricter(name: string, a: string | true, b: string | true): string | true {
  if (LAX.has(name)) return String(Math.min(secondsOf(a) ?? 0, secondsOf(b) ?? 0))
  if (name === 'min-fresh') return String(Math.max(secondsOf(a) ?? 0, secondsOf(b) ?? 0))
  // Without an argument it speaks of the whole response.
  return a === true || b === true ? true : `${a}, ${b}`
}

const LONGEST = 2 ** 31

/** Delta-seconds (RFC 9111, 1.2.2): what is too large to matter is 2^31; undefined for anything else. */
export function secondsOf(value: string | true | undefined): number | undefined {
  return typeof value === 'string' && /^\d+$/.test(value)
    ? Math.min(Number(value), LONGEST)
    : undefined
}
