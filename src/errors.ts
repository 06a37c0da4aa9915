/**
 * Every error that turnpike throws or hands to a framework. Tell them apart by `code`, never by
 * `instanceof`: the package ships as ESM and as CJS, and an application may hold both.
 */

/** What went wrong, for programs. docs/errors.md has a section for each. */
export type ErrorCode =
  /** An option is unknown, missing, of the wrong type or out of range. */
  | 'TP_OPTION'
  /** A `key` function gave nothing to count by. */
  | 'TP_KEY'
  /** A `limit`, `window` or `cost` that was worked out for a request is not usable. */
  | 'TP_VALUE'
  /** In production no Redis was configured, and memory was not asked for. */
  | 'TP_NO_REDIS'
  /** ioredis could not be loaded. */
  | 'TP_NO_IOREDIS'
  /** Redis did not answer in time, or cannot answer now. */
  | 'TP_UNAVAILABLE'
  /** Redis refused a command: wrong type, no permission, a script's mistake. */
  | 'TP_COMMAND'
  /** A limit refuses a request, or `limiter.wait()` cannot be admitted before its `wait`. */
  | 'TP_LIMITED'
  /** A request has no credentials, or none that are valid. */
  | 'TP_UNAUTHENTICATED'
  /** The caller does not have the permission that a request needs. */
  | 'TP_FORBIDDEN'
  /** Another holder has the lock for longer than `wait`. */
  | 'TP_LOCKED'
  /** A lock or a permit was lost while it was held. */
  | 'TP_LOCK_LOST'
  /** A semaphore has no free permit within `wait`. */
  | 'TP_SEMAPHORE_FULL'
  /** A request needs an idempotency key, or its key cannot be used. */
  | 'TP_IDEMPOTENCY_KEY'
  /** A request with an idempotency key cannot run: the key is in use, or the response to it is unknown. */
  | 'TP_IDEMPOTENCY_CONFLICT'
  /** Another attempt has taken over an idempotent request that was running. */
  | 'TP_IDEMPOTENCY_LOST'
  /** A session is larger than `maxBytes`, or cannot be written down at all. The old value is kept. */
  | 'TP_SESSION_SIZE'
  /** Another request has changed the session meanwhile, and `onConflict` says 'reject'. */
  | 'TP_SESSION_CONFLICT'
  /** The user has `maxPerUser` sessions, and `onOverflow` says 'deny'. */
  | 'TP_SESSION_LIMIT'
  /** A stored session cannot be read, and `onCorrupt` says 'error'. */
  | 'TP_SESSION_CORRUPT'
  /** A session that is to be reloaded is gone: it has expired, or somebody logged out. */
  | 'TP_SESSION_GONE'

/**
 * Where every code has a section. `require.resolve()` finds it in an application, and
 * `npx turnpike explain <code>` prints the section.
 */
const HELP_PAGE = 'turnpike/docs/errors.md'

export interface ErrorDetails {
  /** HTTP status for an error handler. Default 500. */
  status?: number
  /** May the message be shown to a client? Default: `status < 500`. */
  expose?: boolean
  /** Header fields of the response (Koa and Express's default error handler send them). */
  headers?: Readonly<Record<string, string | readonly string[]>>
  cause?: unknown
}

/** The base of every error of this package. */
export class TurnpikeError extends Error {
  override readonly name: string = 'TurnpikeError'
  readonly code: ErrorCode
  /** HTTP status for Express's and Koa's error handlers. */
  readonly status: number
  /** Whether the message may be shown to a client (Koa and http-errors read this). */
  readonly expose: boolean
  /** Where the remedy is written down. */
  readonly help: string
  /** Header fields of the response, for example Retry-After. Koa and Express's default error handler send them. */
  declare readonly headers?: Readonly<Record<string, string | readonly string[]>>

  constructor(
    code: ErrorCode,
    message: string,
    { status = 500, expose, headers, cause }: ErrorDetails = {},
  ) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.status = status
    this.expose = expose ?? status < 500
    this.help = `${HELP_PAGE}#${code.toLowerCase()}`
    if (headers !== undefined) this.headers = headers
  }
}

/** Why the store could not be used. */
export type UnavailableReason =
  /** The connection is not up (yet, or any more). */
  | 'not-ready'
  /** No answer within the deadline. */
  | 'timeout'
  /** The request's store budget was used up by earlier calls. */
  | 'budget'
  /** The circuit breaker is open. */
  | 'breaker-open'
  /** Too many calls are in flight. */
  | 'saturated'
  /** The connection broke, or the server said that it cannot serve now. */
  | 'error'
  /** `tp.close()` was called. */
  | 'closed'
  /** The server got the command after its deadline and refused it. */
  | 'late'

/**
 * The store cannot answer now: features answer by their failure rule, not with an error.
 * `uncertain` is true when the command may have been carried out all the same.
 */
export class StoreUnavailable extends TurnpikeError {
  override readonly name: string = 'StoreUnavailable'
  readonly reason: UnavailableReason
  readonly uncertain: boolean

  constructor(reason: UnavailableReason, uncertain: boolean, cause?: unknown) {
    super('TP_UNAVAILABLE', `The store is unavailable: ${reason}.`, {
      status: 503,
      expose: false,
      cause,
    })
    this.reason = reason
    this.uncertain = uncertain
  }
}

/** True for the errors that mean "Redis is away", from either copy of this package. */
export function isUnavailable(error: unknown): error is StoreUnavailable {
  return (error as { code?: unknown } | null | undefined)?.code === 'TP_UNAVAILABLE'
}
