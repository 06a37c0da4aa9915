/** Paths and queries as keys and tags see them. */
import { digest } from '../../caching/tags.ts'
import type { QueryOptions } from './options.ts'

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
): string {
  if (query === '') return ''
  const pairs = query.split('&').map((pair) => [nameOf(pair), pair] as const)
  const kept = pairs.filter(
    ([name]) => (!allow || allow.includes(name)) && !ignore.some((each) => matchesName(each, name)),
  )
  if (sort) kept.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  return kept.map(([, pair]) => pair).join('&')
}

const nameOf = (pair: string): string => {
  const name = pair.split('=', 1)[0]!
  try {
    return decodeURIComponent(name.replaceAll('+', ' '))
  } catch {
    return name
  }
}

const matchesName = (pattern: string, name: string): boolean =>
  pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern

/** Returns the tags of a URL: of its path with every query, and with this query only. */
export function urlTags(url: string): { all: string; exact: string } {
  const [path, query] = splitUrl(url)
  return { all: `u:${digest([path])}`, exact: `u:${digest([path, '?', selectQuery(query)])}` }
}

/** Returns the tag that a purge of a URL or path invalidates. Without a query it is that of every query. */
export function purgeTag(url: string): string {
  const target = /^https?:\/\//i.test(url) ? targetOf(url) : url
  const { all, exact } = urlTags(target)
  return target.includes('?') ? exact : all
}

function targetOf(url: string): string {
  const { pathname, search } = new URL(url)
  return pathname + search
}
