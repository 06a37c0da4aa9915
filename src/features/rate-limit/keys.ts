/** `tp.key.*`: what requests are counted by. */
import { createHash } from 'node:crypto'
import { validateOptions, callback, integer } from '../../validate.ts'
import { TurnpikeError } from '../../errors.ts'
import type { Exchange } from '../../http/exchange.ts'
import { addressSubject } from '../../http/client-address.ts'
import type { Subject } from '../../store/keys.ts'
import { requestOnly, isRequestOnly } from '../request-only.ts'
import type { KeyFunction } from './options.ts'
import type { KeyValue } from '../../store/subject.ts'

/** The ready-made keys of `tp.key`. */
export interface KeyHelpers<Native> {
  /**
   * The client's address by the framework's proxy rules: IPv4-mapped IPv6 folded to IPv4, IPv6
   * grouped by `/ipv6Subnet` (default 56, from 1 to 128), everything that is no address in one bucket.
   */
  ip(options?: { ipv6Subnet?: number }): KeyFunction<Native>
  /**
   * The user: `req.session.userId`, `req.user.id` or (Koa) `ctx.state.user.id`, or what `of` gives.
   * Who is not logged in is counted by address, in buckets that no user can share.
   */
  user(of?: (native: Native) => string | number | undefined | null): KeyFunction<Native>
  /** The pattern of the matched route (`/users/:id`), not the URL. @throws TP_KEY where no route was matched */
  route(): KeyFunction<Native>
  /** A request header, hashed, since it is often a secret. Requests without it are refused with 400 (TP_KEY). */
  header(name: string): KeyFunction<Native>
  /** What `header()` counts a value by: `tp.limits.set(tp.key.hashed(apiKey), { minute: 600 })`. */
  hashed(value: string): string
  /** Several keys together: one bucket for each combination. */
  all(...keys: KeyFunction<Native>[]): KeyFunction<Native>
}

const hashed = (value: string): string => createHash('sha256').update(value).digest('base64url')

/** The helpers for one framework. @param exchange gives the Exchange of its request */
export function createKeyHelpers<Native>(
  exchange: (native: Native) => Exchange<Native>,
): KeyHelpers<Native> {
  const address = (native: Native, ipv6Subnet?: number): string =>
    addressSubject(exchange(native).ip, ipv6Subnet)
  return {
    ip(options = {}) {
      validateOptions('tp.key.ip()', options, { ipv6Subnet: integer(1, 128) })
      return requestOnly<KeyFunction<Native>>((native) => address(native, options.ipv6Subnet))
    },
    user(of = userOf) {
      validateOptions('tp.key.user()', { of }, { of: callback })
      return (native) => of(native) ?? ['anonymous', address(native)]
    },
    route() {
      return requestOnly<KeyFunction<Native>>((native) => {
        const { method, route } = exchange(native)
        if (route === undefined) {
          throw new TurnpikeError(
            'TP_KEY',
            'tp.key.route() needs a route: mount the limit on one, as in app.get(path, limit, handler).',
          )
        }
        return [method, route]
      })
    },
    header(name) {
      const field = name.toLowerCase()
      return requestOnly<KeyFunction<Native>>((native) => {
        const value = exchange(native).header(field)
        if (value) return hashed(value)
        throw new TurnpikeError('TP_KEY', `The header ${field} is missing.`, { status: 400 })
      })
    },
    hashed,
    all(...keys) {
      const joined: KeyFunction<Native> = (native) => {
        const parts = keys.map((key) => key(native))
        if (!parts.some((each) => each instanceof Promise)) return flat(parts as KeyValue[])
        return Promise.all(parts.map(async (each) => each)).then(flat)
      }
      return keys.every(isRequestOnly) ? requestOnly(joined) : joined
    },
  }
}

/** The parts of several subjects; undefined as soon as one of them is missing. */
function flat(parts: readonly KeyValue[]): string[] | undefined {
  if (parts.some((each) => each === undefined || each === null)) return undefined
  return parts.flatMap((each) => (typeof each === 'number' ? String(each) : (each as Subject)))
}

type Id = string | number | undefined | null

/** Where sessions, passport and Koa's authentication middlewares put the user. */
function userOf(native: unknown): Id {
  const { session, user, state } = native as {
    session?: { userId?: Id }
    user?: { id?: Id }
    state?: { user?: { id?: Id } }
  }
  return session?.userId ?? user?.id ?? state?.user?.id
}
