/** `tp.session.require()`: routes that need a user, or a permission. */
import { passThrough, type Exchange, type Feature, type Plan } from '../../http/exchange.ts'
import { isPermitted } from '../../permissions.ts'
import type { Refusal, RefusalReply } from '../../http/refusal.ts'
import { callback, isFunction, optionError, validateOptions } from '../../validate.ts'
import type { RequireOptions } from './options.ts'

const WHERE = 'tp.session.require()'

/** What the feature needs of the sessions of its instance. */
interface RequireParts {
  /** Loads the session of a request with `lazy: true`. */
  loadLazy(native: object): Promise<object | undefined>
  /** Reports a request that no session middleware has reached. */
  warnOfOrder(): void
}

/**
 * Creates the feature that lets a request pass only if its user is logged in and has `permission`.
 */
export function requireFeature<Native>(
  permission: string | undefined,
  options: RequireOptions<Native>,
  { loadLazy, warnOfOrder }: RequireParts,
): Feature<Native, never> {
  if (permission !== undefined && typeof permission !== 'string')
    throw optionError(WHERE, 'permission', permission, 'a string')
  validateOptions(WHERE, options, {
    user: callback,
    permissions: callback,
    redirect: {
      expected: "a path such as '/login', an http(s) URL, or a function that returns one",
      accepts: (value) => isFunction(value) || isLocation(value),
    },
    reply: callback,
  })
  const { user, permissions, redirect, reply } = options

  /** Refuses a request without a user. */
  async function refuseAnonymous(x: Exchange<Native>): Promise<Plan> {
    const refusal: Refusal = {
      status: 401,
      code: 'TP_UNAUTHENTICATED',
      detail: 'Log in first.',
    }
    if (redirect === undefined) return { refusal, replyWith: reply }
    const location = typeof redirect === 'function' ? await redirect(x.native) : redirect
    if (!isLocation(location))
      throw optionError(
        WHERE,
        'redirect',
        location,
        'a function that returns a path or an http(s) URL',
      )
    const replyWith = async (native: Native, refusal: Refusal): Promise<RefusalReply> =>
      (await reply?.(native, refusal)) ?? redirectTo(location, x.method)
    return { refusal, replyWith }
  }

  async function handle(x: Exchange<Native>): Promise<Plan> {
    const { identity } = x
    let lazy: SessionData | undefined
    let who = user ? user(x.native) : (identity.userId ?? identity.user)
    if (user === undefined && isNobody(who) && identity.session === undefined) {
      lazy = await loadLazy(x.native as object)
      who = lazy?.userId
      if (lazy === undefined) warnOfOrder()
    }
    if (isNobody(who)) return await refuseAnonymous(x)
    if (permission === undefined) return passThrough
    const granted = await (permissions ? permissions(x.native) : permissionsOf(x, lazy))
    if (isPermitted(granted, permission)) return passThrough
    return {
      refusal: {
        status: 403,
        code: 'TP_FORBIDDEN',
        detail: `This needs the permission '${permission}'.`,
      },
      replyWith: reply,
    }
  }

  return { name: 'requireSession', handle }
}

interface SessionData {
  userId?: unknown
  permissions?: unknown
}

const isNobody = (who: unknown): boolean => who === undefined || who === null || who === false

/** True for a path or an http(s) URL. Browsers read `//host` and `/\host` as another host. */
const isLocation = (value: unknown): value is string =>
  typeof value === 'string' && /^(?:https?:\/\/|\/(?![/\\]))/i.test(value)

/** Redirects to a page that is always asked for with GET (RFC 9110, 15.4.4). */
function redirectTo(location: string, method: string): RefusalReply {
  const isRead = method === 'GET' || method === 'HEAD'
  // A field holds visible ASCII only (RFC 9110, 5.5).
  const encoded = location.replace(/[^\x21-\x7E]+/g, encodeURIComponent)
  return { status: isRead ? 302 : 303, headers: { Location: encoded } }
}

/** Returns `permissions` of the session, or of the user that an authentication middleware set. */
function permissionsOf({ identity }: Exchange, lazy?: SessionData): readonly string[] | undefined {
  for (const holder of [identity.session ?? lazy, identity.user]) {
    const { permissions } = (holder ?? {}) as SessionData
    if (permissions !== undefined && permissions !== null)
      return Array.isArray(permissions) ? (permissions as string[]) : undefined
  }
  return undefined
}
