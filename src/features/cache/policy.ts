/** Whether a response may be stored, and for how long: pure functions that cite RFC 9111. */
import { STATUS_CODES } from 'node:http'
import { secondsOf, type Directives } from './directives.ts'
import {
  dateOf,
  fieldOf,
  freshnessOf,
  heuristicLifetime,
  initialAgeOf,
  type Candidate,
} from './freshness.ts'
import type { CacheReason } from './reasons.ts'

/** What the options of a mount say about storing. Times in ms. */
export interface StoragePolicy {
  readonly ttl: number | 'auto'
  readonly negativeTtl: number | undefined
  readonly staleWhileRevalidate: number | undefined
  readonly staleIfError: number | undefined
  /** How long a response with a validator is kept after it was fresh. */
  readonly keep: number
  /** True if a lifetime is assumed for responses that name none. */
  readonly isHeuristic: boolean
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
  /** 0 or less: it has to be revalidated each time. */
  readonly freshFor: number
  /** After it was fresh: how long it may be served while it is revalidated, and instead of an error. */
  readonly staleFor: number
  readonly errorFor: number
  /** After it was fresh: how long it is kept, to be revalidated with the handler. */
  readonly keptFor: number
  readonly initialAge: number
}

/** Statuses that are cacheable by default (RFC 9110, 15.1), errors and parts apart. */
const GOOD = new Set([200, 203, 204, 300, 301, 308])
/** Statuses that tell what became of a range or a condition of one request. */
const OF_THE_REQUEST = new Set([206, 304, 412, 416])
/** Returns whether the rules of a status are known (RFC 9110, 16.2.1): it is registered. */
const isUnderstood = (status: number): boolean => status in STATUS_CODES
/** Errors that `negativeTtl` stores. */
const BAD = new Set([404, 405, 410, 414, 451, 501])

const refuse = (reason: CacheReason): StorageRefusal => ({ isStored: false, reason })

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
  const isAuto = policy.ttl === 'auto'
  if (varyOf(response).includes('*')) return refuse('vary')
  const { directives, lifetime } = freshnessOf(response, isAuto ? policy.targeted : [], now)
  const reason = refusalOf(response, directives, policy)
  if (reason !== undefined) return refuse(reason)
  const sharing = policy.isPublic ? 'public' : sharingOf(directives, isAuto)
  if (sender !== undefined && !maySend(sharing, sender)) return refuse(sender)
  const initialAge = isAuto ? initialAgeOf(response, now) : 0
  const ownLifetime = isAuto
    ? (lifetime ?? assumedLifetime(response, directives, policy, now))
    : fixedLifetime(response.status, policy)
  const mustValidate = directives.has('no-cache')
  if (ownLifetime === undefined && !mustValidate) return refuse('freshness')
  const freshFor = mustValidate ? 0 : ownLifetime! - initialAge
  // 4.2.4; s-maxage implies proxy-revalidate (5.2.2.10).
  const isStrict =
    mustValidate ||
    directives.has('must-revalidate') ||
    directives.has('proxy-revalidate') ||
    (isAuto && directives.has('s-maxage'))
  const lenience = (option: number | undefined, name: string): number =>
    isStrict ? 0 : (option ?? (isAuto ? (secondsOf(directives.get(name)) ?? 0) * 1000 : 0))
  const staleFor = lenience(policy.staleWhileRevalidate, 'stale-while-revalidate')
  const errorFor = lenience(policy.staleIfError, 'stale-if-error')
  const keptFor = hasValidator(response) ? policy.keep : 0
  if (freshFor + staleFor <= 0 && keptFor === 0)
    return refuse(mustValidate ? 'no-cache' : 'freshness')
  return { isStored: true, sharing, freshFor, staleFor, errorFor, keptFor, initialAge }
}

/** Returns why a response is not stored for any client, however fresh it is. */
function refusalOf(
  response: Candidate,
  directives: Directives,
  { ttl, negativeTtl }: StoragePolicy,
): CacheReason | undefined {
  const { status } = response
  const isAuto = ttl === 'auto'
  // On other statuses the field has no meaning (RFC 9110, 14.4).
  const isPart = response.headers['content-range'] !== undefined && (!isAuto || status === 206)
  if (isPart) return 'content-range'
  const mustUnderstand = isAuto && directives.has('must-understand')
  const isStorable = isAuto
    ? status >= 200 &&
      status <= 599 &&
      !OF_THE_REQUEST.has(status) &&
      (!mustUnderstand || isUnderstood(status))
    : GOOD.has(status) || (BAD.has(status) && negativeTtl !== undefined)
  if (!isStorable) return 'status'
  // The status is understood, so no-store is for other caches (5.2.2.3).
  if (directives.has('no-store') && !mustUnderstand) return 'no-store'
  if (directives.has('private')) return 'private'
  return !isAuto && directives.has('no-cache') ? 'no-cache' : undefined
}

function fixedLifetime(status: number, { ttl, negativeTtl, jitter }: StoragePolicy): number {
  const limit = BAD.has(status) ? negativeTtl! : (ttl as number)
  return Math.ceil(limit * (1 - jitter * Math.random()))
}

/** Returns the lifetime of a response that does not name one. */
const assumedLifetime = (
  response: Candidate,
  directives: Directives,
  { negativeTtl, isHeuristic }: StoragePolicy,
  now: number,
): number | undefined =>
  (BAD.has(response.status) ? negativeTtl : undefined) ??
  (isHeuristic ? heuristicLifetime(response, directives, now) : undefined)

/** Returns whether the handler can be asked if a stored response is still current (4.3.1). */
const hasValidator = (response: Candidate): boolean =>
  response.status === 200 &&
  (fieldOf(response, 'etag') ?? dateOf(fieldOf(response, 'last-modified'))) !== undefined

/** With a fixed ttl, only `public` says that a response is not personal. */
function sharingOf(directives: Directives, isAuto: boolean): Sharing {
  if (directives.has('public')) return 'public'
  const mayBeShared = directives.has('s-maxage') || directives.has('must-revalidate')
  return isAuto && mayBeShared ? 'authorized' : 'anonymous'
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
    if (name !== 'cache-status') return [[name, value]]
    const others = ofOtherCaches(value)
    return others === '' ? [] : [[name, others]]
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
