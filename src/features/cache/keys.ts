/** What a response is kept under. */
import { digest } from '../../caching/names.ts'
import type { Exchange } from '../../http/exchange.ts'
import { keyPart, type Subject } from '../../store/keys.ts'
import type { QueryOptions } from './options.ts'

/** The path and the query of a target. */
export function split(url: string): [path: string, query: string] {
  const target = url.split('#', 1)[0]!
  const mark = target.indexOf('?')
  return mark < 0 ? [target, ''] : [target.slice(0, mark), target.slice(mark + 1)]
}

const UTM = ['utm_*'] as const

/** The part of a query that tells resources apart, as it was written. */
export function queryOf(
  query: string,
  { allow, ignore = UTM, sort = false }: QueryOptions = {},
): string {
  if (query === '') return ''
  const pairs = query.split('&').map((pair) => [nameOf(pair), pair] as const)
  const kept = pairs.filter(
    ([name]) => (!allow || allow.includes(name)) && !ignore.some((each) => isLike(each, name)),
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

const isLike = (pattern: string, name: string): boolean =>
  pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern

/** What a URL is purged by: its path with all queries, or with this one. */
export function urlTags(url: string): { all: string; exact: string } {
  const [path, query] = split(url)
  const kept = queryOf(query)
  return { all: `u:${digest([path])}`, exact: `u:${digest([path, '?', kept])}` }
}

/** What an entry of the application's own key is purged by. */
export const keyTag = (key: Subject): string => `u:${digest(['key', ...[key].flat()])}`

/** The tags that a purge of a URL or path invalidates: without a query, those of every query. */
export function purgeTag(url: string): string {
  const target = /^https?:\/\//i.test(url) ? targetOf(url) : url
  const { all, exact } = urlTags(target)
  return target.includes('?') ? exact : all
}

function targetOf(url: string): string {
  const { pathname, search } = new URL(url)
  return pathname + search
}

/** What tells one resource from another, and how it can be purged. */
export interface Identity {
  /** The content of the key's hash tag, before tenants. */
  readonly hash: string
  /** The path as it stands in the key, for patterns. */
  readonly readable: string
  /** What patterns are matched against: the path, or the application's own key. */
  readonly path: string
  readonly tags: readonly string[]
}

/** What supertest asks: a new port of this machine for each request. */
const TEST_HOST = /^(127\.0\.0\.1|\[::1\]|localhost):\d+$/

/** How a resource is told from others. */
export interface IdentityOptions {
  /** The application's own key, in place of the URL. */
  key?: Subject | undefined
  scope?: string | undefined
  query?: QueryOptions | undefined
  /** Do the ports of this machine not matter? In unit tests over the in-process engine they change with each request. */
  anyPort?: boolean
}

export function identityOf(
  x: Exchange,
  { key, scope, query, anyPort = false }: IdentityOptions,
): Identity {
  const [path, all] = split(x.url)
  const { all: allTag, exact } = urlTags(x.url)
  const place =
    key === undefined
      ? [
          'url',
          x.secure ? 'https' : 'http',
          anyPort ? (x.host ?? '').replace(TEST_HOST, '$1') : (x.host ?? ''),
          path,
          queryOf(all, query),
        ]
      : ['key', ...[key].flat()]
  const hash = digest([...place, ...(scope === undefined ? [] : ['scope', scope])])
  const name = key === undefined ? path : [key].flat().join(':')
  return {
    hash,
    path: name,
    readable: keyPart(name, 100),
    tags: key === undefined ? [allTag, exact] : [allTag, exact, keyTag(key)],
  }
}

/** The variant that a request asks for, by the headers that the response varies by (RFC 9111, 4.1). */
export function variantOf(
  names: readonly string[],
  header: (name: string) => string | undefined,
): string {
  return `:v${digest(names.flatMap((name) => [name, normal(header(name))])).slice(0, 22)}`
}

/** White space between members of a list does not matter; an absent field is not an empty one. */
const normal = (value: string | undefined): string =>
  value === undefined ? '-' : `+${value.trim().replace(/\s*,\s*/g, ',')}`
