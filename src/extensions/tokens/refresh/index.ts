/** Refresh tokens: `refreshTokens()`. */
import { durationValidator } from '../../../duration.ts'
import { TurnpikeError } from '../../../errors.ts'
import type { ExtensionContext } from '../../../extension.ts'
import { requireTenant } from '../../../store/subject.ts'
import {
  identifier,
  integer,
  optionError,
  optionRuleError,
  validateOptions,
  type Validator,
} from '../../../validate.ts'
import { storedDuration } from '../durations.ts'
import { toJson } from '../json.ts'
import { tokenPrefix } from '../token-format.ts'
import { RefreshEngine, type RefreshSettings } from './engine.ts'
import type { RefreshTokenOptions, RefreshTokens } from './options.ts'

const OPTIONS: Record<string, Validator> = {
  ttl: durationValidator,
  grace: durationValidator,
  absoluteTimeout: durationValidator,
  maxPerUser: integer(1, 1000),
  prefix: tokenPrefix,
  name: identifier,
}

const optionalString: Validator = {
  expected: 'a string',
  accepts: (value) => value === undefined || typeof value === 'string',
}
const TENANT: Record<string, Validator> = { tenant: optionalString }
const DATA: Record<string, Validator> = {
  ...TENANT,
  data: { expected: 'a value that JSON can hold', accepts: () => true },
}
const REVOKE_USER: Record<string, Validator> = { ...TENANT, except: optionalString }

const MAX_DATA_BYTES = 1024
const MONTH = 30 * 86_400_000

/** @throws TP_OPTION for an option that cannot be used */
export function createRefreshTokens(
  context: ExtensionContext,
  options: RefreshTokenOptions = {},
): RefreshTokens {
  const engine = new RefreshEngine(context, settingsOf(context, options))

  /** Checks what a call said, and returns whose data it means. */
  function tenantOf(
    call: { tenant?: string },
    known: Record<string, Validator>,
    where: string,
  ): string | undefined {
    validateOptions(where, call, known)
    return requireTenant(context, call.tenant, where)
  }

  return {
    async issue(user, call = {}) {
      const where = 'refreshTokens().issue()'
      const tenant = tenantOf(call, DATA, where)
      return await engine.issue(
        user,
        toJson(call.data, MAX_DATA_BYTES, where, 'data'),
        tenant,
        where,
      )
    },
    async rotate(token, call = {}) {
      const where = 'refreshTokens().rotate()'
      const tenant = tenantOf(call, DATA, where)
      const data =
        call.data === undefined ? undefined : toJson(call.data, MAX_DATA_BYTES, where, 'data')
      const outcome = await engine.rotate(token, data, tenant)
      if (outcome.kind === 'rotated') return outcome.token
      if (outcome.kind === 'unknown')
        throw new TurnpikeError(
          'TP_TOKEN_INVALID',
          'The refresh token is not valid, or has expired. Log in again.',
          { status: 401 },
        )
      throw new TurnpikeError(
        'TP_TOKEN_REUSED',
        'A refresh token was used twice, so this login has ended. Log in again.',
        { status: 401 },
      )
    },
    async revoke(token, call = {}) {
      return await engine.revoke(token, tenantOf(call, TENANT, 'refreshTokens().revoke()'))
    },
    async revokeFamily(user, family, call = {}) {
      const where = 'refreshTokens().revokeFamily()'
      const tenant = tenantOf(call, TENANT, where)
      if (typeof family !== 'string' || family === '')
        throw optionError(where, 'family', family, 'a family that list() showed')
      return await engine.revokeFamily(user, family, tenant, where)
    },
    async revokeUser(user, call = {}) {
      const where = 'refreshTokens().revokeUser()'
      const tenant = tenantOf(call, REVOKE_USER, where)
      return await engine.revokeUser(user, call.except ?? '', tenant, where)
    },
    async list(user, call = {}) {
      const where = 'refreshTokens().list()'
      return await engine.list(user, tenantOf(call, TENANT, where), where)
    },
  }
}

function settingsOf(context: ExtensionContext, options: RefreshTokenOptions): RefreshSettings {
  const where = 'refreshTokens()'
  validateOptions(where, options, OPTIONS)
  const { name = 'default', prefix = 'refresh', maxPerUser = 100 } = options
  const ttl = storedDuration(options.ttl ?? '7d', where, 'ttl')
  const grace = storedDuration(options.grace ?? '10s', where, 'grace', 0)
  const longest = options.absoluteTimeout ?? Math.max(ttl, MONTH)
  const absolute = storedDuration(longest, where, 'absoluteTimeout')
  if (absolute < ttl)
    throw optionRuleError(
      where,
      'absoluteTimeout',
      options.absoluteTimeout,
      'absoluteTimeout is shorter than ttl. Raise it, or lower ttl.',
    )
  if (grace >= ttl)
    throw optionRuleError(
      where,
      'grace',
      options.grace,
      'grace is as long as ttl. It is for seconds: two tabs, or an answer that was lost.',
    )
  context.claimName({
    where,
    kind: 'refresh token',
    name,
    // Tokens of one name are meant to be shared, also by the default one.
    isExplicit: true,
    settings: { ttl, grace, absolute, maxPerUser, prefix },
  })
  return { name, prefix, ttl, grace, absolute, maxPerUser }
}
