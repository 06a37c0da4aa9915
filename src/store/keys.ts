/**
 * Builds all keys: `<prefix>:<feature>:{<subject>}[:<sub>...]`. No other file does.
 *
 * The subject is the Cluster hash tag, so that all keys of one script share a hash slot. A part
 * that a client controls cannot leave the tag, cannot make two subjects equal, and cannot make a
 * key longer than 200 bytes.
 */
import { createHash } from 'node:crypto'

const PLAIN = /^[\w.@-]{1,64}$/
const SPECIAL = /[^\w.@-]/g
const MAX_PART_LENGTH = 64
/** Of a tenant's digest, its first characters: 132 bits. With them a key has at most 200 bytes. */
const MAX_TENANT_LENGTH = 24
const MAX_VERSION_LENGTH = 20

const sha256 = (value: string): string => createHash('sha256').update(value).digest('base64url')

const percentEncode = (char: string): string =>
  `%${char.charCodeAt(0).toString(16).padStart(2, '0')}`

const escape = (value: string): string =>
  Buffer.from(value, 'utf8').toString('latin1').replace(SPECIAL, percentEncode)

/** A hashed part. A string that looks like one is hashed itself, so that no client can make one. */
const DIGEST = /^~h[\w-]{43}$/

/**
 * Returns a string as one part of a key, in the characters `[A-Za-z0-9_.@-]`, `%` and `~`. It is
 * escaped byte by byte, marked if empty, and hashed if longer than `maxLength`.
 *
 * Unicode is not normalised. Lone surrogates stay different: UTF-8 would turn all of them into one
 * replacement character.
 */
export function keyPart(value: string, maxLength: number = MAX_PART_LENGTH): string {
  if (PLAIN.test(value) && value.length <= maxLength) return value
  if (value === '') return '~e'
  const escaped = value.isWellFormed() ? escape(value) : `~u${escape(JSON.stringify(value))}`
  return escaped.length <= maxLength && !DIGEST.test(value)
    ? escaped
    : `~h${sha256(JSON.stringify(value))}`
}

/** Returns a string as events show it: itself, or its digest if keys contain that. */
export function shownPart(value: string): string {
  if (PLAIN.test(value)) return value
  const part = keyPart(value)
  return DIGEST.test(part) ? part : value
}

/** What is counted, cached or locked: one name, or a list of names that is one compound name. */
export type Subject = string | readonly string[]

/** Builds the keys of one instance. */
export interface KeySpace {
  /**
   * Returns the hash tag's content for `subject`, within `tenant` if given.
   * @param isShown true if the subject may come from an event, where a digest stands for a long string
   */
  tag(subject: Subject, tenant?: string, isShown?: boolean): string
  /** Returns a tenant as it begins the tags of its subjects, before a `=`. */
  tenantPart(tenant: string): string
  /** Returns the key of `feature` under `tag`. `sub` must consist of parts (`keyPart`). */
  key(feature: string, tag: string, sub?: string): string
  /** Returns a pub/sub channel of `feature`. */
  channel(feature: string, name: string): string
}

/**
 * Returns the key space of an instance, or of one of its extensions.
 *
 * @param prefix precedes every key; letters, digits and `_.:-`
 * @param version changes every key when it changes
 * @param name of an extension; precedes the names of its features, so that extensions cannot collide
 * @param tenantName returns the one spelling of a tenant that keys contain
 */
export function createKeySpace(
  prefix: string,
  version?: string | number,
  name?: string,
  tenantName: (tenant: string) => string = (tenant) => tenant,
): KeySpace {
  const versioned =
    version === undefined
      ? prefix
      : `${prefix}~${keyPart(String(version), MAX_VERSION_LENGTH).slice(0, MAX_VERSION_LENGTH)}`
  const start = name === undefined ? versioned : `${versioned}:${keyPart(name)}`
  const tenantPart = (tenant: string): string =>
    keyPart(tenantName(tenant), MAX_TENANT_LENGTH).slice(0, MAX_TENANT_LENGTH)
  return {
    tenantPart,
    tag(subject, tenant, isShown = false) {
      const partOf = (name: string): string => (isShown && DIGEST.test(name) ? name : keyPart(name))
      const parts = typeof subject === 'string' ? partOf(subject) : subject.map(partOf).join(':')
      // No part contains '='. A tenant cannot be mistaken for the first of several parts.
      const owner = tenant === undefined ? '' : `${tenantPart(tenant)}=`
      const whole = `${owner}${parts}`
      // The tenant stays readable, so that its keys can be found.
      return whole.length <= MAX_PART_LENGTH ? whole : `${owner}~t${sha256(whole)}`
    },
    key: (feature, tag, sub) =>
      sub === undefined ? `${start}:${feature}:{${tag}}` : `${start}:${feature}:{${tag}}:${sub}`,
    channel: (feature, name) => `${start}:${feature}!${keyPart(name)}`,
  }
}

/**
 * Returns what was passed as the subject of a tag, and its tenant. Undefined if a digest stands in
 * their place.
 */
export function subjectOfTag(
  tag: string,
): { readonly parts: readonly string[]; readonly tenant: string | undefined } | undefined {
  const [first = '', ...rest] = tag.split('=')
  const [tenant, own = ''] = rest.length === 0 ? [undefined, first] : [first, rest.join('=')]
  const parts = own.split(':').map(unescapePart)
  const owner = tenant === undefined ? undefined : unescapePart(tenant)
  if (tenant !== undefined && owner === undefined) return undefined
  const known = parts.flatMap((part) => part ?? [])
  return known.length === parts.length ? { parts: known, tenant: owner } : undefined
}

function unescapePart(part: string): string | undefined {
  if (part === '~e') return ''
  if (part === '' || part.includes('~')) return undefined
  try {
    return decodeURIComponent(part)
  } catch {
    return undefined
  }
}

/** The parts of a key, for programs that show keys. */
export interface KeyParts {
  /** The feature, after the extension's name if it has one: `limit`, `tokens:refresh`. */
  readonly feature: string
  /** The content of the hash tag. */
  readonly tag: string
  readonly sub: string | undefined
}

/**
 * Returns the parts of a key.
 * @param start prefix and version, with which the key must begin
 */
export function parseKey(key: string, start: string): KeyParts | undefined {
  if (!key.startsWith(`${start}:`)) return undefined
  const match = /^([\w@.%~-]+(?::[\w@.%~-]+)?):\{([^{}]*)\}(?::(.*))?$/s.exec(
    key.slice(start.length + 1),
  )
  return match ? { feature: match[1]!, tag: match[2]!, sub: match[3] } : undefined
}

/** Built-in features by the name that stands in their keys, and their areas. */
export const AREA_BY_FEATURE: Readonly<Record<string, string>> = {
  cache: 'cache',
  concurrency: 'lock',
  data: 'cache',
  idempotency: 'idempotency',
  inv: 'cache',
  limit: 'rateLimit',
  limits: 'rateLimit',
  lock: 'lock',
  login: 'rateLimit',
  once: 'lock',
  semaphore: 'lock',
  session: 'session',
  'session-revoke-before': 'session',
  sessions: 'session',
}

/** Returns what a key of any instance begins with: prefix and version. Undefined for other keys. */
export function startOfKey(key: string): string | undefined {
  const [, path] =
    /^([\w.:-]{1,70}(?:~[\w@.%~-]{1,20})?(?::[\w@.%~-]+)+):\{[^{}]*\}/.exec(key) ?? []
  if (path === undefined) return undefined
  const parts = path.split(':')
  const feature = parts.pop()!
  if (Object.hasOwn(AREA_BY_FEATURE, feature)) return parts.join(':') || undefined
  return undefined
}
