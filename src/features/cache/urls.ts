/** Paths and queries as keys, tags and handlers see them. */
import { digest } from '../../caching/tags.ts'
import { optionError } from '../../validate.ts'
import type { QueryOptions } from './options.ts'

/** How a URL was written: by a client, whose bytes node reads as Latin-1, or by the application. */
type UrlEncoding = 'latin1' | 'utf8'

/** Splits a request target into its path and its query. */
export function splitUrl(url: string): [path: string, query: string] {
  const target = url.split('#', 1)[0]!
  const mark = target.indexOf('?')
  return mark < 0 ? [target, ''] : [target.slice(0, mark), target.slice(mark + 1)]
}

const IGNORED = ['utm_*'] as const

/** Returns the part of a query that distinguishes resources, as it was written. */
export function selectQuery(
  query: string,
  { allow, ignore = IGNORED, sort = false }: QueryOptions = {},
  encoding: UrlEncoding = 'latin1',
): string {
  if (query === '') return ''
  const pairs = query.split('&').map((pair) => [nameOf(pair, encoding), pair] as const)
  const kept = pairs.filter(
    ([name]) => (!allow || isListed(allow, name)) && !isListed(ignore, name),
  )
  if (sort) kept.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  return kept.map(([, pair]) => pair).join('&')
}

const nameOf = (pair: string, encoding: UrlEncoding): string =>
  decode(pair.split('=', 1)[0]!.replaceAll('+', ' '), encoding)

/** Names with brackets are listed by what is before them: parsers read `page[]` as `page`. */
const isListed = (list: readonly string[], name: string): boolean => {
  const bracket = name.indexOf('[')
  const base = bracket > 0 ? name.slice(0, bracket) : name
  return list.some((each) => matchesName(each, name) || matchesName(each, base))
}

const matchesName = (pattern: string, name: string): boolean =>
  pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern

/**
 * Returns one spelling for all spellings of a path that routers may take for the same: decoded, in
 * lower case, without dot segments and without a slash at the end. Tags and patterns use it: they may
 * invalidate too much, never too little.
 */
export function canonicalPath(path: string, encoding: UrlEncoding): string {
  const lower = decode(path, encoding).toLowerCase()
  const plain = lower.includes('/.') ? withoutDots(lower) : lower
  const trimmed = plain.replace(/\/+$/, '')
  return trimmed === '' ? '/' : trimmed
}

/** Returns a pattern that matches canonical paths. Patterns of own keys are left as they are. */
export const canonicalPattern = (glob: string): string =>
  glob.startsWith('/') ? canonicalPath(glob, 'utf8') : glob

function withoutDots(path: string): string {
  const segments: string[] = []
  for (const segment of path.split('/')) {
    if (segment === '..') segments.splice(Math.max(1, segments.length - 1))
    else if (segment !== '.') segments.push(segment)
  }
  return segments.join('/')
}

const NEEDS_DECODING = /[%\x80-\uffff]/

/** Decodes what can be decoded, byte by byte, then as UTF-8. */
function decode(text: string, encoding: UrlEncoding): string {
  if (!NEEDS_DECODING.test(text)) return text
  const bytes = Buffer.from(text, encoding)
  let length = 0
  for (let at = 0; at < bytes.length; at++) {
    const digits = bytes[at] === 0x25 ? bytes.toString('latin1', at + 1, at + 3) : ''
    const isEncoded = /^[\da-f]{2}$/i.test(digits)
    bytes[length++] = isEncoded ? Number.parseInt(digits, 16) : bytes[at]!
    if (isEncoded) at += 2
  }
  return bytes.toString('utf8', 0, length)
}

/** Returns the tag of a path with every query. */
export const pathTag = (path: string, encoding: UrlEncoding): string =>
  `u:${digest([canonicalPath(path, encoding)])}`

/** Returns the tag of a path with one query, by the rules of a mount. The order of names does not matter. */
export function queryTag(
  path: string,
  query: string,
  rules: QueryOptions | undefined,
  encoding: UrlEncoding,
): string {
  const kept = selectQuery(query, rules, encoding)
  const pairs =
    kept === '' ? [] : kept.split('&').map((pair) => decode(pair.replaceAll('+', ' '), encoding))
  return `u:${digest([canonicalPath(path, encoding), '?', ...pairs.sort()])}`
}

/**
 * Returns the tags that a purge of a URL or path invalidates. Without a query it is that of every
 * query, with one it is that of each mount's rules.
 * @throws TP_OPTION for what is neither
 */
export function purgeTags(
  where: string,
  option: string,
  url: unknown,
  rules: readonly (QueryOptions | undefined)[],
): string[] {
  const targets = targetsOf(url)
  if (targets === undefined)
    throw optionError(where, option, url, "a path like '/products/1', or a URL with http or https")
  const tags = targets.flatMap((target) => {
    const [path, query] = splitUrl(target)
    if (!target.includes('?')) return [pathTag(path, 'utf8')]
    return rules.map((each) => queryTag(path, query, each, 'utf8'))
  })
  return [...new Set(tags)]
}

/** Returns the request targets that a URL or path may mean. Undefined: it is neither. */
function targetsOf(url: unknown): string[] | undefined {
  if (typeof url !== 'string' || url === '') return undefined
  if (url.startsWith('/')) return [url]
  if (/^[a-z][a-z\d+.-]*:\/\//i.test(url)) {
    if (!/^https?:/i.test(url) || !URL.canParse(url)) return undefined
    const { pathname, search } = new URL(url)
    return [pathname + search]
  }
  const [head = ''] = url.split(/[/?#]/, 1)
  if (!/[.:]|^localhost$/i.test(head)) return [`/${url}`]
  // `shop.example/c` names a host, and `v1.0/c` does not. A purge never invalidates too little.
  const rest = url.slice(head.length)
  return [`/${url}`, rest.startsWith('/') ? rest : `/${rest}`]
}
