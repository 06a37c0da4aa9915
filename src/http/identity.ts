/** Who sends a request, as sessions, authentication middlewares and header fields tell it. */
import type { Exchange } from './exchange.ts'

type Id = string | number | undefined | null

/** What sessions, passport and Koa's authentication middlewares leave on a request. */
interface Authenticated {
  session?: { userId?: Id } | null
  user?: { id?: Id } | null
  state?: { user?: { id?: Id } | null }
}

/** Who sends a request. Read at the time of the question: authentication may happen in between. */
export class Identity {
  readonly #x: Exchange

  constructor(x: Exchange) {
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

  /** The X-API-Key field. It is a secret: hash it before it becomes part of a key. */
  get apiKey(): string | undefined {
    return this.#x.header('x-api-key') || undefined
  }
}
