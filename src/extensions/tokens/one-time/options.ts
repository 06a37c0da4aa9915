import type { Duration } from '../../../duration.ts'
import type { ReplyFunction } from '../../../http/refusal.ts'
import type { KeyValue } from '../../../store/subject.ts'
import type { OneTimeFormat } from '../code-format.ts'

/** Options of `oneTimeTokens()`. */
export interface OneTimeTokenOptions {
  /**
   * What the tokens are for, for example `'verify-email'`. A token of one purpose is worth nothing
   * for another. Up to 40 letters, digits and `_.-`.
   */
  purpose: string
  /**
   * Form of the tokens: `'digits:6'` to `'digits:12'`, `'letters:6'` to `'letters:32'` for codes that
   * people type, `'url'` (256 random bits) for links.
   * @default 'url'
   */
  format?: OneTimeFormat
  /** How long a token may be used. @default '15m' */
  ttl?: Duration
  /**
   * Number of wrong codes after which the issued one is void. Not for `'url'`, which cannot be guessed.
   * @default 5
   */
  attempts?: number
  /** Pause between two tokens of one subject. `0`: none. @default '60s' */
  cooldown?: Duration
  /**
   * Longest pause between two tokens. The pause doubles each time that `attempts` more codes were
   * wrong, and starts again after a right one. It bounds guesses that spread over many codes.
   * @default '15m'
   */
  maxCooldown?: Duration
  /**
   * Secret of the application that hides short codes from readers of Redis. At least 32
   * characters. Of a list, the first is used for new tokens, and all are accepted.
   * @default none: a warning says so where codes are stored in Redis
   */
  pepper?: string | readonly string[]
  /** What tokens of the form `'url'` begin with: `once_…`. Secret scanners look for it. @default 'once' */
  prefix?: string
  /**
   * Number of tokens that one address may ask for, and of codes that it may get wrong, over all
   * subjects within `addressWindow`. It holds for calls that name an `address`, and for `guard()`.
   * @default 100
   */
  addressLimit?: number
  /** Time for `addressLimit`. @default '1h' */
  addressWindow?: Duration
}

/** What a call may say besides the subject. */
export interface OneTimeCallOptions {
  /** Address of the client, for example `req.ip`. It is counted. @default none */
  address?: string | undefined
  /** Tenant whose data is meant. Required if the application has tenants. */
  tenant?: string
}

/** Options of `issue()`. */
export interface IssueOptions extends OneTimeCallOptions {
  /** Value that `consume()` returns: up to 4 KB as JSON. It is stored in Redis as it is. @default null */
  data?: unknown
}

/** Outcome of `issue()`. */
export type IssuedToken =
  | {
      /** True: a token was issued. */
      readonly sent: true
      /** The token. It cannot be had again: send it now. */
      readonly code: string
      /** When it ends, in ms from now. */
      readonly expiresInMs: number
    }
  | {
      /** False: too soon after the last one. */
      readonly sent: false
      /** Never set: no token was issued. */
      readonly code?: undefined
      /** When a token may be issued, in ms from now. */
      readonly retryAfterMs: number
    }

/** A token that was right. */
export interface OneTimeToken {
  /** Subject of the token, as `issue()` got it, or for a code `consume()`. */
  readonly subject: KeyValue
  /** What was bound to it. */
  readonly data: unknown
  /** Time that it had left, in ms. */
  readonly expiresInMs: number
}

/** Options of `guard()`. */
export interface TokenGuardOptions<Native> {
  /** Returns the subject that the client names. @default the token names it (format `'url'`) */
  subject?: (native: Native) => KeyValue | Promise<KeyValue>
  /** Returns the token that the client sent. */
  code: (native: Native) => unknown
  /** Phrases the reply to a refused request. @default problem+json */
  reply?: ReplyFunction<Native>
}

/** One-time tokens of one purpose. */
export interface OneTimeTokens<Native, Middleware> {
  /**
   * Issues a token. The subject's former one of this purpose is void. Send it to the subject, never
   * to the client that asked.
   *
   * @param subject whose it is: a user's ID, or an e-mail address in the form in which you keep it
   * @returns `{ sent: false, retryAfterMs }` while the pause after the former one lasts
   * @throws TP_KEY if `subject` is empty or unusable
   * @throws TP_VALUE if `data` cannot be stored
   * @throws TP_UNAVAILABLE if the store cannot answer
   * @example
   * const issued = await verify.issue(user.email, { address: req.ip })
   * if (issued.sent) await mailer.send(user.email, issued.code)
   */
  issue(subject: NonNullable<KeyValue>, options?: IssueOptions): Promise<IssuedToken>
  /**
   * Uses a token up. It succeeds once, whichever process is asked.
   *
   * @param subject whose it is. `null` with format `'url'`: the token names it
   * @param code what the client sent, of any type
   * @returns what was bound to the token
   * @throws TP_TOKEN_INVALID if it is wrong, used, expired or was never issued. The error does not show which
   * @throws TP_LIMITED if `address` got too many wrong
   * @throws TP_UNAVAILABLE if the store cannot answer
   */
  consume(subject: KeyValue, code: unknown, options?: OneTimeCallOptions): Promise<OneTimeToken>
  /**
   * Looks at a token without using it up, for a page that asks for confirmation: mail scanners open
   * links. A wrong code counts as in `consume()`.
   * @returns undefined where `consume()` would throw TP_TOKEN_INVALID
   * @throws TP_LIMITED, TP_UNAVAILABLE
   */
  peek(
    subject: KeyValue,
    code: unknown,
    options?: OneTimeCallOptions,
  ): Promise<OneTimeToken | undefined>
  /**
   * Makes the subject's token void, for example after an e-mail that could not be sent. Another one
   * may be issued at once.
   * @returns true if there was one
   * @throws TP_UNAVAILABLE if the store cannot answer
   */
  revoke(subject: NonNullable<KeyValue>, options?: { tenant?: string }): Promise<boolean>
  /**
   * Returns a middleware that uses the token of a request up, and limits wrong ones by address. The
   * handler finds the token in `req.oneTimeToken` (Koa: `ctx.state.oneTimeToken`). It refuses with 400
   * what cannot be a token, and with 410 a token that is not right. An address that guesses gets 429.
   * While Redis is away the reply is 503. Mount it on POST: mail scanners open links.
   * @throws TP_OPTION for an option that cannot be used
   */
  guard(options: TokenGuardOptions<Native>): Middleware
  /** Returns the token that `guard()` accepted with this request. */
  of(native: Native): OneTimeToken | undefined
}
