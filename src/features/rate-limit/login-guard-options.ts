import { durationValidator, type CheckedDuration } from '../../duration.ts'
import type { ReplyFunction } from '../../http/refusal.ts'
import {
  anyOf,
  callback,
  identifier,
  integer,
  nonEmptyString,
  oneOf,
  type Validator,
} from '../../validate.ts'
import { RESET_OPTIONS } from './limiter-options.ts'
import { MAX_LIMIT } from './operations/script.ts'
import type { LimitRefusal } from './options.ts'

/** Options of `tp.loginGuard()`. */
export interface LoginGuardOptions<Native, Literal extends string = never> {
  /**
   * Returns who tries to log in: the e-mail address or user name of the request, a string of up to 256
   * characters or a number. If it returns undefined or an empty string, only the address is counted.
   * @example
   * key: (req) => req.body?.email
   */
  key: (native: Native) => unknown
  /**
   * Failures that an identity may have from one address within the window.
   * @default 5
   */
  limit?: number
  /**
   * Length of the window.
   * @default '15m'
   */
  window?: CheckedDuration<Literal>
  /**
   * Failures that an address may have over all identities within the window.
   * @default 100
   */
  addressLimit?: number
  /**
   * Time for which an identity is shut out from an address after a refusal.
   * @default the window
   */
  blockFor?: CheckedDuration<Literal>
  /**
   * Longest block. Each further block is twice as long as the one before.
   * @default '24h', or `blockFor` if that is longer
   */
  blockMax?: CheckedDuration<Literal>
  /**
   * Returns true if the login succeeded. Everything else stays counted, errors and aborted requests too.
   * @default a status from 200 to 299
   */
  outcome?: (native: Native, status: number) => boolean | Promise<boolean>
  /**
   * Returns an identity in the form in which it is counted.
   * @default NFKC, without invisible characters, in lower case, trimmed
   */
  normalize?: (identity: string) => string
  /**
   * Rule while Redis cannot answer. With `'local'` this process counts. If it cannot either, logins are refused.
   * @default 'local'
   */
  fail?: 'local' | 'open' | 'closed'
  /**
   * Name that separates this guard's counts from another's.
   * @default 'login'
   */
  name?: string
  /**
   * Size of the networks by which IPv6 addresses are counted, in bits.
   * @default 56
   */
  ipv6Subnet?: number
  /**
   * The response to a refused login.
   * @default 429 with problem+json (RFC 9457)
   */
  reply?: ReplyFunction<Native, LimitRefusal>
}

/** What can be done with a login guard outside a request. */
export interface LoginGuard {
  /**
   * Deletes the failures of an identity: from one address, or from all addresses it was tried from
   * (the last 1,000 of them). Returns true if there were any.
   * @throws TP_KEY if `identity` is no string, or the application has tenants and none is named
   * @throws TP_UNAVAILABLE if the store cannot answer
   * @example
   * await guard.reset('ada@example.com') // after a password reset
   */
  reset(identity: string, options?: { address?: string; tenant?: string }): Promise<boolean>
}

const attempts = anyOf(integer(1, MAX_LIMIT), {
  expected: 'Infinity',
  accepts: (value) => value === Infinity,
})
export const GUARD_OPTIONS: Record<string, Validator> = {
  key: callback,
  limit: attempts,
  window: durationValidator,
  addressLimit: attempts,
  blockFor: durationValidator,
  blockMax: durationValidator,
  outcome: callback,
  normalize: callback,
  fail: oneOf('local', 'open', 'closed'),
  name: identifier,
  ipv6Subnet: integer(1, 128),
  reply: callback,
}

/** Options of `guard.reset()`. */
export const GUARD_RESET_OPTIONS: Record<string, Validator> = {
  ...RESET_OPTIONS,
  address: nonEmptyString,
}
