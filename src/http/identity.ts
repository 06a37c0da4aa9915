/** Who sends a request, as sessions, authentication middlewares and header fields tell it. */
import type { IncomingHttpHeaders } from 'node:http'
import { plainUserId, type UserId } from '../user-id.ts'

/** A key that an extension has verified, for example `apiKeys()`. */
export interface VerifiedKey {
  /** Digest of the key. It is no secret. */
  readonly digest: string
  /** The feature that verified it. It recognises its own keys by this. */
  readonly by: object
  /** What is known of the key. */
  readonly record: unknown
}

/** A registry symbol: several instances, and both copies of the package, see one request's key. */
const VERIFIED_KEY: unique symbol = Symbol.for('turnpike.verifiedKey') as never

/** The part of a request that tells its sender. */
interface Identified {
  readonly native: unknown
  readonly headers: IncomingHttpHeaders
  header(name: string): string | undefined
}

type Id = UserId | undefined | null

/** What sessions, passport and Koa's authentication middlewares leave on a request. */
interface Authenticated {
  session?: { userId?: Id } | null
  user?: { id?: Id } | null
  state?: { user?: { id?: Id } | null }
  [VERIFIED_KEY]?: VerifiedKey
}

/** What other authentication middlewares leave on a request, in Express and on Koa's context. */
interface Evidence extends Authenticated {
  /** express-jwt, Auth0 and others. */
  auth?: unknown
  currentUser?: unknown
  account?: unknown
  /** express-openid-connect: present for anonymous visitors, too. */
  oidc?: { isAuthenticated?: () => boolean } | null
  readonly state?: Locals & Authenticated['state']
  readonly res?: { locals?: Locals }
  readonly req?: { socket?: TlsSocket }
  readonly socket?: TlsSocket
}

/** What is handed to views. */
interface Locals {
  user?: unknown
  auth?: unknown
  currentUser?: unknown
  account?: unknown
}

interface TlsSocket {
  /** True if the client has shown a certificate that the server trusts. */
  readonly authorized?: boolean
}

/** Fields other than Authorization and Cookie by which clients and gateways name the sender. */
const KEY_FIELDS = [
  'x-api-key',
  'api-key',
  'proxy-authorization',
  'x-access-token',
  'x-amzn-oidc-identity',
  'x-auth-token',
  'x-forwarded-user',
  'x-goog-authenticated-user-id',
  'x-ms-client-principal-id',
  'x-remote-user',
  'x-session',
  'x-session-id',
  'x-session-token',
  'x-user-id',
] as const

/** Returns whether a request has one of `KEY_FIELDS`. Constant names make this much faster than a loop. */
const hasKeyField = (headers: IncomingHttpHeaders): boolean =>
  Boolean(
    headers['x-api-key'] ||
    headers['api-key'] ||
    headers['proxy-authorization'] ||
    headers['x-access-token'] ||
    headers['x-amzn-oidc-identity'] ||
    headers['x-auth-token'] ||
    headers['x-forwarded-user'] ||
    headers['x-goog-authenticated-user-id'] ||
    headers['x-ms-client-principal-id'] ||
    headers['x-remote-user'] ||
    headers['x-session'] ||
    headers['x-session-id'] ||
    headers['x-session-token'] ||
    headers['x-user-id'],
  )

/** Who sends a request. Read at the time of the question: authentication may happen in between. */
export class Identity {
  readonly #x: Identified

  constructor(x: Identified) {
    this.#x = x
  }

  get #native(): Authenticated {
    return this.#x.native as Authenticated
  }

  /** The session object: `req.session`, on Koa `ctx.session`. */
  get session(): object | undefined {
    const { session } = this.#native
    return typeof session === 'object' && session !== null ? session : undefined
  }

  /** True if the session holds anything but its cookie, or what koa-session keeps for itself. */
  get hasSessionData(): boolean {
    const { session } = this
    if (session === undefined) return false
    const isKoaSession = '_requireSave' in session || '_sessCtx' in session
    return Object.entries(session).some(
      ([name, value]) =>
        value !== undefined &&
        name !== 'cookie' &&
        !(isKoaSession && (name === 'isNew' || name.startsWith('_'))),
    )
  }

  /**
   * What middlewares know of the sender: a certificate, a user, a session that holds data. Undefined:
   * nothing.
   */
  get knownBy(): 'certificate' | 'user' | 'session' | undefined {
    const native = this.#x.native as Evidence
    if ((native.req?.socket ?? native.socket)?.authorized === true) return 'certificate'
    const { user, auth, currentUser, account, oidc } = native
    if (user || auth || currentUser || account) return 'user'
    if (oidc && oidc.isAuthenticated?.() !== false) return 'user'
    if (namesUser(native.state) || namesUser(native.res?.locals)) return 'user'
    return this.hasSessionData ? 'session' : undefined
  }

  /**
   * The credential in the header fields of the request. Cookies are not looked at.
   * @param except fields that do not count, in lower case
   */
  credential(except?: ReadonlySet<string>): 'authorization' | 'api-key' | undefined {
    const { headers } = this.#x
    if (headers.authorization && except?.has('authorization') !== true) return 'authorization'
    if (this.verifiedKey !== undefined && except?.has('x-api-key') !== true) return 'api-key'
    if (!hasKeyField(headers)) return undefined
    const isKey = (name: string): boolean => Boolean(headers[name]) && except?.has(name) !== true
    return KEY_FIELDS.some(isKey) ? 'api-key' : undefined
  }

  /** The user that an authentication middleware set: `req.user`, on Koa `ctx.state.user`. */
  get user(): unknown {
    const { user, state } = this.#native
    return user ?? state?.user
  }

  /**
   * The user's ID: `req.session.userId`, `req.user.id` or `ctx.state.user.id`. A bigint or an ObjectId
   * is its string.
   */
  get userId(): string | number | undefined {
    const { session, user, state } = this.#native
    const id = session?.userId ?? user?.id ?? state?.user?.id ?? undefined
    return plainUserId(id) as string | number | undefined
  }

  /** The Authorization field. It is a secret: hash it before it becomes part of a key. */
  get authorization(): string | undefined {
    return this.#x.header('authorization') || undefined
  }

  /** The API key that was verified for this request, in whatever field it came. */
  get verifiedKey(): VerifiedKey | undefined {
    return this.#native[VERIFIED_KEY]
  }

  set verifiedKey(key: VerifiedKey) {
    this.#native[VERIFIED_KEY] = key
  }

  /**
   * The API key: the digest of the one that was verified, else the X-API-Key field. The field is a
   * secret: hash it before it becomes part of a key.
   */
  get apiKey(): string | undefined {
    return this.verifiedKey?.digest ?? (this.#x.header('x-api-key') || undefined)
  }
}

const namesUser = (locals: Locals | undefined): boolean =>
  locals !== undefined &&
  Boolean(locals.user || locals.auth || locals.currentUser || locals.account)
