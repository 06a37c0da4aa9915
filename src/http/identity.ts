/** Who sends a request, as sessions, authentication middlewares and header fields tell it. */

/** A key that an extension has verified, for example `apiKeys()`. */
export interface VerifiedKey {
  /** Digest of the key. It is no secret. */
  readonly digest: string
  /** Whoever verified it. It recognises its own keys by this. */
  readonly by: object
  /** What is known of the key. */
  readonly record: unknown
}

/** A registry symbol: several instances, and both copies of the package, see one request's key. */
const VERIFIED_KEY: unique symbol = Symbol.for('turnpike.verifiedKey') as never

/** The part of a request that tells its sender. */
interface Identified {
  readonly native: unknown
  header(name: string): string | undefined
}

type Id = string | number | undefined | null

/** What sessions, passport and Koa's authentication middlewares leave on a request. */
interface Authenticated {
  session?: { userId?: Id } | null
  user?: { id?: Id } | null
  state?: { user?: { id?: Id } | null }
  [VERIFIED_KEY]?: VerifiedKey
}

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

  /** True if the session holds anything but its cookie. */
  get hasSessionData(): boolean {
    const { session } = this
    return session !== undefined && Object.keys(session).some((name) => name !== 'cookie')
  }

  /** The user that an authentication middleware set: `req.user`, on Koa `ctx.state.user`. */
  get user(): unknown {
    const { user, state } = this.#native
    return user ?? state?.user
  }

  /** The user's ID: `req.session.userId`, `req.user.id` or `ctx.state.user.id`. */
  get userId(): string | number | undefined {
    const { session, user, state } = this.#native
    return session?.userId ?? user?.id ?? state?.user?.id ?? undefined
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
