/** `tp.key.*`: what requests are counted by. */
import { createHash } from 'node:crypto'
import { check, callback, whole } from '../../check.ts'
import { TurnpikeError } from '../../errors.ts'
import type { Exchange } from '../../http/exchange.ts'
import { subjectOf } from '../../http/ip.ts'
import type { Subject } from '../../store/keys.ts'
import { early, isEarly } from '../early.ts'
import type { Key } from './options.ts'
import type { Given } from '../subject.ts'

/** The ready-made keys of `tp.key`. */
export interface KeyHelpers<Native> {
  /**
   * The client's address by the framework's proxy rules: IPv4-mapped IPv6 folded to IPv4, IPv6
   * grouped by `/ipv6Subnet` (default 56, from 1 to 128), everything that is no address in one bucket.
   */
  ip(options?: { ipv6Subnet?: number }): Key<Native>
  /**
   * The user: `req.session.userId`, `req.user.id` or (Koa) `ctx.state.user.id`, or what `of` gives.
   * Who is not logged in is counted by address, in buckets that no user can share.
   */
  user(of?: (native: Native) => string | number | undefined | null): Key<Native>
  /** The pattern of the matched route (`/users/:id`), not the URL. @throws TP_KEY where no route was matched */
  route(): Key<Native>
  /** A request header, hashed, since it is often a secret. Requests without it are refused with 400 (TP_KEY). */
  header(name: string): Key<Native>
  /** What `header()` counts a value by: `tp.limits.set(tp.key.hashed(apiKey), { minute: 600 })`. */
  hashed(value: string): string
  /** Several keys together: one bucket for each combination. */
  all(...keys: Key<Native>[]): Key<Native>
}

const hashed = (value: string): string => createHash('sha256').update(value).digest('base64url')

/** The helpers for one framework. @param exchange gives the Exchange of its request */
export function keyHelpers<Native>(
  exchange: (native: Native) => Exchange<Native>,
): KeyHelpers<Native> {
  const address = (native: Native, ipv6Subnet?: number): string =>
    subjectOf(exchange(native).ip, ipv6Subnet)
  return {
    ip(options = {}) {
      check('tp.key.ip()', options, { ipv6Subnet: whole(1, 128) })
      return early<Key<Native>>((native) => address(native, options.ipv6Subnet))
    },
    user(of = userOf) {
      check('tp.key.user()', { of }, { of: callback })
      return (native) => of(native) ?? ['anonymous', address(native)]
    },
    route() {
      return early<Key<Native>>((native) => {
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
      return early<Key<Native>>((native) => {
        const value = exchange(native).header(field)
        if (value) return hashed(value)
        throw new TurnpikeError('TP_KEY', `The header ${field} is missing.`, { status: 400 })
      })
    },
    hashed,
    all(...keys) {
      const joined: Key<Native> = (native) => {
        const parts = keys.map((key) => key(native))
        if (!parts.some((each) => each instanceof Promise)) return flat(parts as Given[])
        return Promise.all(parts.map(async (each) => each)).then(flat)
      }
      return keys.every(isEarly) ? early(joined) : joined
    },
  }
}

/** The parts of several subjects; undefined as soon as one of them is missing. */
function flat(parts: readonly Given[]): string[] | undefined {
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
