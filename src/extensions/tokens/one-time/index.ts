/** One-time tokens: `oneTimeTokens()`. */
import { durationValidator } from '../../../duration.ts'
import { TurnpikeError } from '../../../errors.ts'
import type { ExtensionContext } from '../../../extension.ts'
import { requireTenant } from '../../../store/subject.ts'
import {
  callback,
  identifier,
  integer,
  isListOf,
  optionError,
  optionRuleError,
  validateOptions,
  type Validator,
} from '../../../validate.ts'
import { networkOfAddress } from '../address.ts'
import { codeFormatOf, codeFormatValidator } from '../code-format.ts'
import { storedDuration } from '../durations.ts'
import { toJson } from '../json.ts'
import { tokenPrefix } from '../token-format.ts'
import { OneTimeEngine, type Caller, type ConsumeOutcome, type OneTimeSettings } from './engine.ts'
import { acceptedToken, tokenGuardFeature, WRONG, type WithAcceptedToken } from './guard.ts'
import type {
  OneTimeCallOptions,
  OneTimeToken,
  OneTimeTokenOptions,
  OneTimeTokens,
  TokenGuardOptions,
} from './options.ts'

const MIN_PEPPER = 32
const isPepper = (value: unknown): boolean =>
  typeof value === 'string' && value.length >= MIN_PEPPER

const OPTIONS: Record<string, Validator> = {
  purpose: identifier,
  format: codeFormatValidator,
  ttl: durationValidator,
  attempts: integer(1, 20),
  cooldown: durationValidator,
  maxCooldown: durationValidator,
  pepper: {
    expected: `a string of at least ${MIN_PEPPER} characters, or a list of them`,
    accepts: (value) => isListOf(value, isPepper, 1) || isPepper(value),
  },
  prefix: tokenPrefix,
  addressLimit: integer(1, 1_000_000),
  addressWindow: durationValidator,
}

const GUARD: Record<string, Validator> = { subject: callback, code: callback, reply: callback }

const isOptionalString = (value: unknown): boolean =>
  value === undefined || typeof value === 'string'
const TENANT: Record<string, Validator> = {
  tenant: { expected: 'a string', accepts: isOptionalString },
}
const CALL: Record<string, Validator> = {
  ...TENANT,
  address: { expected: 'a string', accepts: isOptionalString },
}
const ISSUE: Record<string, Validator> = {
  ...CALL,
  data: { expected: 'a value that JSON can hold', accepts: () => true },
}

const MAX_DATA_BYTES = 4096
/** An attacker who has a digest cannot find one of so many codes by trying them. */
const HARD_TO_SEARCH = 2 ** 80

/** @throws TP_OPTION for an option that cannot be used */
export function createOneTimeTokens<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
  options: OneTimeTokenOptions,
): OneTimeTokens<Native, Middleware> {
  const settings = settingsOf(context, options)
  const engine = new OneTimeEngine(context, settings)
  const where = `oneTimeTokens('${settings.purpose}')`

  const callerOf = ({ address, tenant }: OneTimeCallOptions, method: string): Caller => ({
    tenant: requireTenant(context, tenant, `${where}.${method}()`),
    address: address === undefined ? undefined : networkOfAddress(address),
  })

  return {
    async issue(subject, call = {}) {
      validateOptions(`${where}.issue()`, call, ISSUE)
      const caller = callerOf(call, 'issue')
      const data = toJson(call.data, MAX_DATA_BYTES, `${where}.issue()`, 'data')
      const outcome = await engine.issue(subject, data, caller, `${where}.issue()`)
      return outcome.kind === 'issued'
        ? { sent: true, code: outcome.code, expiresInMs: settings.ttl }
        : { sent: false, retryAfterMs: outcome.retryAfterMs }
    },
    async consume(subject, code, call = {}) {
      validateOptions(`${where}.consume()`, call, CALL)
      const caller = callerOf(call, 'consume')
      return tokenOrThrow(await engine.consume(subject, code, false, caller, `${where}.consume()`))
    },
    async peek(subject, code, call = {}) {
      validateOptions(`${where}.peek()`, call, CALL)
      const caller = callerOf(call, 'peek')
      const outcome = await engine.consume(subject, code, true, caller, `${where}.peek()`)
      return outcome.kind === 'limited' || outcome.kind === 'right'
        ? tokenOrThrow(outcome)
        : undefined
    },
    async revoke(subject, call = {}) {
      validateOptions(`${where}.revoke()`, call, TENANT)
      return await engine.revoke(subject, callerOf(call, 'revoke'), `${where}.revoke()`)
    },
    guard: (guard) => context.mount(createGuard(context, engine, guard, where)),
    of: (native) => (native as WithAcceptedToken)[acceptedToken]?.get(engine),
  }
}

function createGuard<Native>(
  context: ExtensionContext<Native>,
  engine: OneTimeEngine,
  options: TokenGuardOptions<Native>,
  outer: string,
): ReturnType<typeof tokenGuardFeature<Native>> {
  const where = `${outer}.guard()`
  validateOptions(where, options, GUARD)
  const { code, subject } = options
  if (code === undefined)
    throw optionError(
      where,
      'code',
      code,
      'a function that returns what the client sent, like (req) => req.body?.code',
    )
  if (subject === undefined && engine.settings.format.isGuessable)
    throw optionError(
      where,
      'subject',
      subject,
      'a function that returns whose code it is, like (req) => req.body?.email',
    )
  return tokenGuardFeature(context, engine, options)
}

function tokenOrThrow(outcome: ConsumeOutcome): OneTimeToken {
  if (outcome.kind === 'right') return outcome.token
  if (outcome.kind === 'limited') {
    const seconds = Math.ceil(outcome.retryAfterMs / 1000)
    throw new TurnpikeError(
      'TP_LIMITED',
      `Too many codes from this address were wrong. Try again in ${seconds} s.`,
      { status: 429, headers: { 'Retry-After': String(seconds) } },
    )
  }
  throw new TurnpikeError('TP_TOKEN_INVALID', WRONG.detail, { status: WRONG.status })
}

function settingsOf(context: ExtensionContext, options: OneTimeTokenOptions): OneTimeSettings {
  const where = 'oneTimeTokens()'
  validateOptions(where, options, OPTIONS)
  const { purpose, format = 'url', prefix = 'once', pepper = [], addressLimit = 100 } = options
  if (purpose === undefined)
    throw optionError(where, 'purpose', purpose, `what the tokens are for, like 'verify-email'`)
  const codes = codeFormatOf(format, prefix)
  if (!codes.isGuessable && options.attempts !== undefined)
    throw optionRuleError(
      where,
      'attempts',
      options.attempts,
      "Leave out attempts with format: 'url'. A link cannot be guessed, and a stranger's wrong links must not void the right one.",
    )
  const cooldown = storedDuration(options.cooldown ?? '60s', where, 'cooldown', 0)
  const standard = Math.max(cooldown, 900_000)
  const maxCooldown = storedDuration(options.maxCooldown ?? standard, where, 'maxCooldown', 0)
  if (maxCooldown < cooldown)
    throw optionRuleError(
      where,
      'maxCooldown',
      options.maxCooldown,
      'maxCooldown is shorter than cooldown. Raise it, or lower cooldown.',
    )
  const addressWindow = storedDuration(options.addressWindow ?? '1h', where, 'addressWindow')
  if (addressWindow < addressLimit)
    throw optionRuleError(
      where,
      'addressWindow',
      options.addressWindow,
      'addressWindow is shorter than addressLimit milliseconds. Raise it, or lower addressLimit.',
    )
  const settings: OneTimeSettings = {
    purpose,
    format: codes,
    ttl: storedDuration(options.ttl ?? '15m', where, 'ttl'),
    attempts: codes.isGuessable ? (options.attempts ?? 5) : 0,
    cooldown,
    maxCooldown,
    peppers: [pepper].flat(),
    addressLimit,
    addressWindow,
  }
  const { ttl, attempts } = settings
  context.claimName({
    where,
    kind: 'one-time token',
    name: purpose,
    isExplicit: true,
    settings: { format, ttl, attempts, cooldown, maxCooldown, addressLimit, addressWindow },
  })
  const isWeak = codes.size < HARD_TO_SEARCH && settings.peppers.length === 0
  if (isWeak && context.store.kind === 'redis')
    context.events.warn(
      `oneTimeTokens('${purpose}'): without a pepper, a reader of Redis can find the codes by trying all ${codes.size.toLocaleString('en')}. Write: pepper: process.env.TOKEN_PEPPER  // 32 characters or more`,
    )
  return settings
}
