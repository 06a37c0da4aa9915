/** `tp.key.*`: what requests are counted by. */
import { createHash } from 'node:crypto'
import { TurnpikeError } from '../../errors.ts'
import { addressSubject } from '../../http/client-address.ts'
import type { Exchange } from '../../http/exchange.ts'
import { isPromise } from '../../http/promises.ts'
import type { Subject } from '../../store/keys.ts'
import type { KeyValue } from '../../store/subject.ts'
import { plainUserId, type UserId } from '../../user-id.ts'
import { callback, integer, validateOptions } from '../../validate.ts'
import { isRequestOnly, requestOnly } from '../request-only.ts'
import { normalizeAddress } from './addresses.ts'
import { addressNormalizer, combinedNormalizer, withNormalizer } from './key-normalizers.ts'
import type { KeyFunction } from './options.ts'

/** The ready-made keys of `tp.key`. */
export interface KeyHelpers<Native> {
  /**
   * Counts by the client's address, by the framework's proxy rules. IPv4-mapped IPv6 addresses count
   * as IPv4, and IPv6 addresses by their network of `/ipv6Subnet` (1 to 128, default 56).
   * @throws TP_OPTION for an option that cannot be used
   */
  ip(options?: { ipv6Subnet?: number }): KeyFunction<Native>
  /**
   * Counts by the user: `req.session.userId`, `req.user.id` or (Koa) `ctx.state.user.id`. Clients
   * that are not logged in are counted by address, in buckets that no user can share.
   * @param of returns the user's ID in place of these
   * @example
   * tp.rateLimit({ limit: 60, window: '1m', key: tp.key.user((req) => req.auth?.sub) })
   */
  user(of?: (native: Native) => UserId | undefined | null): KeyFunction<Native>
  /**
   * Counts by method and pattern of the matched route (`/users/:id`), not by URL. HEAD counts as GET.
   * @throws TP_KEY at a request for which no route was matched
   */
  route(): KeyFunction<Native>
  /** Counts by a request header, hashed, because it is often a secret. Requests without it are refused with 400 (TP_KEY). */
  header(name: string): KeyFunction<Native>
  /**
   * Returns what `header()` counts a value by.
   * @example
   * await tp.overrides.set(tp.key.hashed(apiKey), { minute: 600 })
   */
  hashed(value: string): string
  /**
   * Returns an address in the form in which requests are counted, for a key that takes it from a
   * header. Undefined if the string is no address.
   * @param value one address, also with a port (`203.0.113.7:80`, `[2001:db8::1]:80`) or a zone
   * @example
   * tp.rateLimit({ limit: 60, window: '1m', key: (req) => tp.key.address(req.get('cf-connecting-ip')) })
   */
  address(value: string | undefined, options?: { ipv6Subnet?: number }): string | undefined
  /** Counts by several keys together: each combination has its own bucket. */
  all(...keys: KeyFunction<Native>[]): KeyFunction<Native>
}

const IP_OPTIONS = { ipv6Subnet: integer(1, 128) }

/** Begins the subject of a client that is not logged in. No user has a subject of two parts. */
const ANONYMOUS = 'anonymous'

const hashed = (value: string): string => createHash('sha256').update(value).digest('base64url')

/**
 * Creates the helpers for one framework.
 * @param exchange returns the Exchange of a request
 */
export function createKeyHelpers<Native>(
  exchange: (native: Native) => Exchange<Native>,
): KeyHelpers<Native> {
  const addressOf = (native: Native, ipv6Subnet?: number): string =>
    addressSubject(exchange(native).ip, ipv6Subnet)
  return {
    ip(options = {}) {
      validateOptions('tp.key.ip()', options, IP_OPTIONS)
      const { ipv6Subnet } = options
      const key: KeyFunction<Native> = (native) => addressOf(native, ipv6Subnet)
      return requestOnly(withNormalizer(key, 1, addressNormalizer(ipv6Subnet)))
    },
    address(value, options = {}) {
      validateOptions('tp.key.address()', options, IP_OPTIONS)
      return typeof value === 'string' ? normalizeAddress(value, options.ipv6Subnet) : undefined
    },
    user(of = userOf) {
      validateOptions('tp.key.user()', { of }, { of: callback })
      const key: KeyFunction<Native> = (native) =>
        (plainUserId(of(native)) as KeyValue) ?? [ANONYMOUS, addressOf(native)]
      const address = addressNormalizer()
      return withNormalizer(key, undefined, (subject) =>
        Array.isArray(subject) && subject.length === 2 && subject[0] === ANONYMOUS
          ? [ANONYMOUS, address(subject[1]) as string]
          : subject,
      )
    },
    route() {
      const key: KeyFunction<Native> = (native) => {
        const { method, route } = exchange(native)
        if (route === undefined) {
          throw new TurnpikeError(
            'TP_KEY',
            'tp.key.route() needs a route. Mount the limit on one: app.get(path, limit, handler).',
          )
        }
        return [method === 'HEAD' ? 'GET' : method, route]
      }
      return requestOnly(withNormalizer(key, 2, (subject) => subject))
    },
    header(name) {
      const field = name.toLowerCase()
      const key: KeyFunction<Native> = (native) => {
        const value = exchange(native).header(field)
        if (value) return hashed(value)
        throw new TurnpikeError('TP_KEY', `The header ${field} is missing.`, { status: 400 })
      }
      return requestOnly(withNormalizer(key, 1, (subject) => subject))
    },
    hashed,
    all(...keys) {
      const combined: KeyFunction<Native> = (native) => {
        const parts: ReturnType<KeyFunction<Native>>[] = []
        try {
          for (const key of keys) parts.push(key(native))
        } catch (error) {
          // A key that throws must leave no other key's promise unobserved.
          for (const part of parts) if (isPromise(part)) part.then(undefined, () => {})
          throw error
        }
        return parts.some(isPromise)
          ? Promise.all(parts.map(async (part) => part)).then(flat)
          : flat(parts as KeyValue[])
      }
      const key = withNormalizer(combined, ...combinedNormalizer(keys))
      return keys.every(isRequestOnly) ? requestOnly(key) : key
    },
  }
}

/** Returns the parts of several subjects, or undefined if one of them is missing. */
function flat(parts: readonly KeyValue[]): string[] | undefined {
  if (parts.some((each) => each === undefined || each === null)) return undefined
  return parts.flatMap((each) => (typeof each === 'number' ? String(each) : (each as Subject)))
}

type Id = UserId | undefined | null

/** Returns the user where sessions, passport and Koa's authentication middlewares put it. */
function userOf(native: unknown): Id {
  const { session, user, state } = native as {
    session?: { userId?: Id }
    user?: { id?: Id }
    state?: { user?: { id?: Id } }
  }
  return session?.userId ?? user?.id ?? state?.user?.id
}
