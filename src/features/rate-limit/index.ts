/** Rate limiting: `tp.rateLimit()`, `tp.limiter()`, `tp.limits`. */
import {
  boolean,
  callback,
  validateOptions,
  anyOf,
  identifier,
  isFunction,
  isObject,
  optionError,
  nonEmptyString,
  integer,
  oneOf,
} from '../../validate.ts'
import type { Validator } from '../../validate.ts'
import type { Feature } from '../../http/exchange.ts'
import type { ExtensionContext } from '../../extension.ts'
import { constantsOf, deciderOf } from './decider.ts'
import { RateLimitEngine } from './engine.ts'
import { engineOptions } from './engine-options.ts'
import { rateLimitFeature } from './feature.ts'
import { foreign } from './flexible-mount.ts'
import { createKeyHelpers, type KeyHelpers } from './keys.ts'
import { createOverrides, type LimitOverrides } from './limits.ts'
import { createLoginGuard, type LoginGuard, type LoginGuardOptions } from './login-guard.ts'
import { limiter, type Limiter, type WaitingLimiter } from './limiter.ts'
import type { LimiterOptions, RateLimitOptions } from './options.ts'
import { FIXED_WINDOW, MOST, POLICY, policiesOf, sharedSettings, type Policy } from './policy.ts'

const MOUNT: Record<string, Validator> = {
  ...POLICY,
  policies: { expected: 'a list of policies', accepts: Array.isArray },
  countDenied: boolean,
  fail: oneOf('local', 'open', 'closed'),
  denyCache: anyOf(boolean, { expected: '{ maxKeys }', accepts: isObject }),
  overrides: boolean,
  limiter: {
    expected: 'a limiter of rate-limiter-flexible',
    accepts: (value: unknown) => isFunction((value as { consume?: unknown } | null)?.consume),
  },
}

const REQUEST: Record<string, Validator> = {
  ...MOUNT,
  skip: callback,
  skipSuccessful: boolean,
  skipFailed: boolean,
  shadow: boolean,
  ipv6Subnet: integer(1, 128),
  headers: boolean,
  legacyHeaders: boolean,
  partitionKey: nonEmptyString,
  onLimited: callback,
  reply: callback,
}

const { key: _inRequests, cost: _perCall, limiter: _foreign, ...REST } = MOUNT
const CALL: Record<string, Validator> = { ...REST, limit: integer(0, MOST), window: FIXED_WINDOW }

/** Rate limits outside a request. */
export interface RateLimitScope {
  /**
   * Counts outside a request: outgoing calls, jobs, WebSockets.
   * @throws TP_OPTION for an option that cannot be used
   */
  limiter(name: string, options: LimiterOptions): WaitingLimiter
  /** Limits of single subjects, stored in Redis. */
  readonly overrides: LimitOverrides
}

/** Rate limiting of an instance. */
export interface RateLimiting<Native, Middleware> extends RateLimitScope {
  /**
   * Limits requests; the middleware is also its own engine (`consume`, `peek`, `refund`, `reset`, `block`).
   * Refusals are 429 with problem+json; headers follow draft-ietf-httpapi-ratelimit-headers-11.
   * @throws TP_OPTION for an option that cannot be used
   */
  rateLimit(options: RateLimitOptions<Native>): Middleware & Limiter
  /**
   * Slows down guessing of passwords: counts failures of (identity, address) and of the address.
   * @throws TP_OPTION for an option that cannot be used
   */
  loginGuard(options: LoginGuardOptions<Native>): Middleware & LoginGuard
  /** What requests can be counted by. */
  readonly key: KeyHelpers<Native>
}

/** Creates the rate limiting of an instance. */
export function createRateLimiting<Native, Middleware extends object>(
  context: ExtensionContext<Native, Middleware>,
): { api: RateLimiting<Native, Middleware>; forTenant(tenant: string): RateLimitScope } {
  const scopeOf = (own: ExtensionContext<Native, Middleware>): RateLimitScope => ({
    limiter: (name, options) => createNamedLimiter(own, name, options),
    overrides: createOverrides(own),
  })
  return {
    api: {
      rateLimit(options) {
        const { feature, limiter } = createRateLimit(context, options)
        return Object.assign(context.mount(feature), limiter)
      },
      loginGuard(options) {
        const { feature, guard } = createLoginGuard(context, options)
        return Object.assign(context.mount(feature), guard)
      },
      key: createKeyHelpers((native) => context.exchange(native)),
      ...scopeOf(context),
    },
    forTenant: (tenant) => scopeOf(context.forTenant(tenant)),
  }
}

/** `tp.rateLimit()`: the feature to mount, and its engine. */
function createRateLimit<Native>(
  context: ExtensionContext<Native>,
  options: RateLimitOptions<Native>,
): { feature: Feature<Native>; limiter: Limiter } {
  const where = 'tp.rateLimit()'
  validateOptions(where, options, REQUEST)
  if (options.limiter) return foreign(context, options, where)
  const { name, policies } = policiesOf(where, options, options.name)
  warnOfMilliseconds(context, where, options)
  context.claimName({
    where,
    kind: 'rate limit',
    name,
    isExplicit: options.name !== undefined,
    settings: sharedSettings(policies),
  })
  const plain = policies as readonly Policy<never>[]
  const constants = constantsOf(plain, options.cost)
  const engine = new RateLimitEngine(
    context,
    engineOptions('rateLimit', name, where, options),
    constants,
  )
  const decider = deciderOf(context, engine, policies, constants, options, where)
  return {
    feature: rateLimitFeature(decider, options),
    limiter: limiter(context, engine, plain, where),
  }
}

/** `tp.limiter()`: counting by a subject that is given with each call. */
function createNamedLimiter(
  context: ExtensionContext,
  name: string,
  options: LimiterOptions,
): WaitingLimiter {
  const where = `tp.limiter('${name}')`
  if (!identifier.accepts(name))
    throw optionError('tp.limiter()', 'name', name, identifier.expected, identifier.suggest?.(name))
  validateOptions(where, options, CALL)
  const { policies } = policiesOf<never>(where, options, name)
  warnOfMilliseconds(context, where, options)
  context.claimName({
    where,
    kind: 'rate limit',
    name,
    isExplicit: true,
    settings: sharedSettings(policies),
  })
  const engine = new RateLimitEngine(
    context,
    engineOptions('limiter', name, where, options),
    constantsOf(policies, 1),
  )
  return limiter(context, engine, policies, where)
}

/** Other packages count in seconds. */
function warnOfMilliseconds(
  context: ExtensionContext,
  where: string,
  { window, policies = [] }: Pick<LimiterOptions, 'window' | 'policies'> | RateLimitOptions<never>,
): void {
  for (const each of [window, ...policies.map((policy) => policy.window)]) {
    if (typeof each === 'number' && each < 1000)
      context.events.warn(
        `${where}: window: ${each} is ${each} milliseconds. For seconds write '${each}s'.`,
      )
  }
}
