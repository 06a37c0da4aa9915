/**
 * Every error that turnpike throws or passes to a framework. Identify them by `code`, never by
 * `instanceof`: an application may load both the ESM and the CommonJS copy of the package.
 */

/** Code of an error. docs/errors.md has a section for each. */
export type ErrorCode =
  /** An option is unknown, missing, of the wrong type or out of range. */
  | 'TP_OPTION'
  /** A `key` or `tenant` function returned nothing that identifies a client. */
  | 'TP_KEY'
  /** A value that was computed for a request or passed to a call cannot be used. */
  | 'TP_VALUE'
  /** In production neither Redis nor the in-process engine is configured. */
  | 'TP_NO_REDIS'
  /** ioredis cannot be loaded. */
  | 'TP_NO_IOREDIS'
  /** Redis did not answer in time, or cannot answer now. */
  | 'TP_UNAVAILABLE'
  /** Redis refused a command: wrong type, missing permission, error in a script. */
  | 'TP_COMMAND'
  /** A limit refuses a request, or `limiter.wait()` cannot be admitted before its `wait`. */
  | 'TP_LIMITED'
  /** A rule of `tp.control` refuses the client. */
  | 'TP_DENIED'
  /** The application is under maintenance. */
  | 'TP_MAINTENANCE'
  /** The client left before its request had arrived. */
  | 'TP_REQUEST_ABORTED'
  /** A request has no credentials, or none that are valid. */
  | 'TP_UNAUTHENTICATED'
  /** The caller does not have the permission that a request needs. */
  | 'TP_FORBIDDEN'
  /** A one-time token, refresh token or link is wrong, used, expired or revoked. */
  | 'TP_TOKEN_INVALID'
  /** A refresh token was used again after its grace. Its family is dead. */
  | 'TP_TOKEN_REUSED'
  /** BullMQ cannot be loaded. */
  | 'TP_NO_BULLMQ'
  /** The payload of a job is invalid for its task, too large, or no JSON. */
  | 'TP_JOB_PAYLOAD'
  /** A job is running, or belongs to a schedule, and cannot be removed. */
  | 'TP_JOB_STATE'
  /** A job has run for longer than the timeout of its task. */
  | 'TP_JOB_TIMEOUT'
  /** There is no such job, or the client may not see it. */
  | 'TP_JOB_UNKNOWN'
  /** A queue of jobs has as many unfinished ones as it may have. */
  | 'TP_QUEUE_FULL'
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
  /** A session is larger than `maxBytes` or cannot be serialized. The stored value is unchanged. */
  | 'TP_SESSION_SIZE'
  /** Another request has changed the session, and `onConflict` is 'reject'. */
  | 'TP_SESSION_CONFLICT'
  /** The user has `maxPerUser` sessions, and `onOverflow` is 'deny'. */
  | 'TP_SESSION_LIMIT'
  /** A stored session cannot be read, and `onCorrupt` is 'error'. */
  | 'TP_SESSION_CORRUPT'
  /** The session no longer exists: it has expired or was destroyed. */
  | 'TP_SESSION_GONE'

/**
 * Where every code has a section. `require.resolve()` finds it in an application, and
 * `npx turnpike explain <code>` prints the section.
 */
const HELP_PAGE = 'turnpike/docs/errors.md'

/** Details of an error. */
export interface ErrorDetails {
  /**
   * HTTP status for an error handler.
   * @default 500
   */
  status?: number
  /**
   * Whether the message may be shown to a client.
   * @default status < 500
   */
  expose?: boolean
  /** Header fields of the response (Koa and Express's default error handler send them). */
  headers?: Readonly<Record<string, string | readonly string[]>>
  /** The error behind this one. */
  cause?: unknown
}

/** Base of all errors of this package. */
export class TurnpikeError extends Error {
  /** `'TurnpikeError'`, or the name of the subclass. Identify an error by `code`. */
  override readonly name: string = 'TurnpikeError'
  /** What went wrong. Compare this, not the message. */
  readonly code: ErrorCode
  /** HTTP status for Express's and Koa's error handlers. */
  readonly status: number
  /** Whether the message may be shown to a client (Koa and http-errors read this). */
  readonly expose: boolean
  /** Section of the page that explains the error, for example `turnpike/docs/errors.md#tp_option`. */
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

/** Why the store cannot be used. */
export type UnavailableReason =
  /** The connection is not established. */
  | 'not-ready'
  /** No reply within `commandTimeout`. */
  | 'timeout'
  /** Earlier calls have used up the request's `requestBudget`. */
  | 'budget'
  /** The circuit breaker is open. */
  | 'breaker-open'
  /** `maxInFlight` calls are in flight, or the in-process fallback is full. */
  | 'saturated'
  /** The connection broke, or the server replied that it cannot serve now. */
  | 'error'
  /** `tp.close()` was called. */
  | 'closed'
  /** The command reached the server after its timeout, and the server refused it. */
  | 'late'

/** The store cannot answer now. Features apply their failure rule instead of passing it on. */
export class StoreUnavailable extends TurnpikeError {
  /** Always `'StoreUnavailable'`. */
  override readonly name: string = 'StoreUnavailable'
  /** Why the store cannot answer, for example `'late'` or `'not-ready'`. */
  readonly reason: UnavailableReason
  /** True if the command may have been executed. */
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

/** Returns true for an error that means "Redis is away", from any copy of this package. */
export function isUnavailable(error: unknown): error is StoreUnavailable {
  return (error as { code?: unknown } | null | undefined)?.code === 'TP_UNAVAILABLE'
}
