/** Rate limiting: `tp.rateLimit()`, `tp.limiter()`, `tp.overrides`. */
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
import type { RuleLookup } from '../../control/active-rules.ts'
import type { ExtensionContext } from '../../extension.ts'
import { createCostHelpers, type CostHelpers } from './cost-helpers.ts'
import { createFlexibleRateLimit } from './flexible/flexible-rate-limit.ts'
import { engineOptions } from './engine-options.ts'
import { RateLimitEngine } from './engine.ts'
import { createRateLimitFeature } from './feature.ts'
import { createKeyHelpers, type KeyHelpers } from './key-helpers.ts'
import { describeLimit } from './limit-description.ts'
import { leaseValidator, withLease } from './lease-options.ts'
import { createLimitOverrides, type LimitOverrides } from './limit-overrides.ts'
import { normalizeSubject } from './key-normalizers.ts'
import { createLimiter } from './limiter.ts'
import type { Limiter, WaitingLimiter } from './limiter-options.ts'
import type { LoginGuard, LoginGuardOptions } from './login-guard-options.ts'
import { createLoginGuard } from './login-guard.ts'
import type { LimiterOptions, RateLimitOptions } from './options.ts'
import {
  fixedLimitValidator,
  fixedWindowValidator,
  policiesOf,
  POLICY_OPTIONS,
  sharedSettings,
  type Policy,
} from './policy.ts'
import { createRequestLimiter, knownChargesOf } from './request-charges.ts'

const MOUNT_OPTIONS: Record<string, Validator> = {
  ...POLICY_OPTIONS,
  policies: { expected: 'a list of policies', accepts: Array.isArray },
  countDenied: boolean,
  fail: oneOf('local', 'open', 'closed'),
  denyCache: anyOf(boolean, {
    expected: '{ maxKeys } with an integer, 1 or more',
    accepts: (value) => isObject(value) && integer(1).accepts(value['maxKeys']),
  }),
  overrides: boolean,
  lease: leaseValidator,
  limiter: {
    expected: 'a limiter of rate-limiter-flexible',
    accepts: (value: unknown) => isFunction((value as { consume?: unknown } | null)?.consume),
  },
}

const REQUEST_OPTIONS: Record<string, Validator> = {
  ...MOUNT_OPTIONS,
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

const { key: _ofRequests, cost: _ofCalls, limiter: _mounted, ...SHARED_OPTIONS } = MOUNT_OPTIONS
const CALL_OPTIONS: Record<string, Validator> = {
  ...SHARED_OPTIONS,
  limit: fixedLimitValidator,
  window: fixedWindowValidator,
}

/** Rate limits outside a request. */
export interface RateLimitScope {
  /**
   * Creates a limiter for use outside a request: outgoing calls, jobs, WebSockets.
   * @param name names its counts. A mount of `tp.rateLimit()` with this name shares them
   * @throws TP_OPTION for an option that cannot be used, or if the name has other settings elsewhere
   * @example
   * const mails = tp.limiter('mails', { limit: 10, window: '1s' })
   * await mails.wait('smtp', { wait: '1m' })
   */
  limiter<Literal extends string = never>(
    name: string,
    options: LimiterOptions<Literal>,
  ): WaitingLimiter
  /** Limits of single subjects, stored in Redis. */
  readonly overrides: LimitOverrides
}

/** Rate limiting of an instance. */
export interface RateLimiting<Native, Middleware> extends RateLimitScope {
  /**
   * Limits requests. The middleware is a limiter, too: `consume`, `peek`, `refund`, `reset`, `block`.
   * Refusals are 429 with problem+json. Header fields follow draft-ietf-httpapi-ratelimit-headers-11.
   * @throws TP_OPTION for an option that cannot be used
   * @example
   * app.use(tp.rateLimit({ limit: 300, window: '1m' }))
   */
  rateLimit<Literal extends string = never>(
    options: RateLimitOptions<Native, Literal>,
  ): Middleware & Limiter
  /**
   * Slows down guessing of passwords: it counts failures of each identity from each address, and of
   * each address. Mount it after the body parser.
   * @throws TP_OPTION for an option that cannot be used
   * @example
   * const guard = tp.loginGuard({ key: (req) => req.body?.email })
   * app.post('/login', express.json(), guard, login)
   */
  loginGuard<Literal extends string = never>(
    options: LoginGuardOptions<Native, Literal>,
  ): Middleware & LoginGuard
  /** Ready-made keys: what requests can be counted by. */
  readonly key: KeyHelpers<Native>
  /** Ready-made costs: what requests can be charged. */
  readonly cost: CostHelpers<Native>
}

/**
 * Creates the rate limiting of an instance.
 * @param rules decide before anything is counted
 */
export function createRateLimiting<Native, Middleware extends object>(
  context: ExtensionContext<Native, Middleware>,
  rules: RuleLookup,
): { api: RateLimiting<Native, Middleware>; forTenant(tenant: string): RateLimitScope } {
  const scopeOf = (own: ExtensionContext<Native, Middleware>): RateLimitScope => ({
    limiter: (name, options) =>
      createNamedLimiter(own, name, checkedLater<LimiterOptions>(options), rules),
    overrides: createLimitOverrides(own),
  })
  return {
    api: {
      rateLimit(options) {
        const { feature, limiter } = createRateLimit(
          context,
          checkedLater<RateLimitOptions<Native>>(options),
          rules,
        )
        return Object.assign(context.mount(feature), limiter)
      },
      loginGuard(options) {
        const { feature, guard } = createLoginGuard(
          context,
          checkedLater<LoginGuardOptions<Native>>(options),
          rules,
        )
        return Object.assign(context.mount(feature), guard)
      },
      key: createKeyHelpers((native) => context.exchange(native)),
      cost: createCostHelpers(),
      ...scopeOf(context),
    },
    forTenant: (tenant) => scopeOf(context.forTenant(tenant)),
  }
}

/** Durations that are variables are strings for the compiler. `validateOptions` checks them. */
const checkedLater = <Options>(options: unknown): Options => options as Options

/** Creates the feature of `tp.rateLimit()`, and its limiter. */
function createRateLimit<Native>(
  context: ExtensionContext<Native>,
  options: RateLimitOptions<Native>,
  rules: RuleLookup,
): { feature: Feature<Native>; limiter: Limiter } {
  const where = 'tp.rateLimit()'
  validateOptions(where, options, REQUEST_OPTIONS)
  if (options.limiter) return createFlexibleRateLimit(context, options, where, rules)
  const { name, policies: asked } = policiesOf(where, options, options.name)
  const policies = withLease(where, options.lease, asked, context)
  prepareName(context, where, name, options.name !== undefined, policies)
  const plain = policies as readonly Policy<never>[]
  const known = knownChargesOf(plain, options.cost)
  const engine = new RateLimitEngine(
    context,
    engineOptions('rateLimit', name, where, options, policies[0]!.lease),
    known,
    rules,
  )
  describeLimit(context.events.counts, engine.options, plain)
  return {
    feature: createRateLimitFeature(
      createRequestLimiter(context, engine, policies, known, options, where, rules),
      options,
    ),
    limiter: createLimiter(context, engine, plain, where, ({ key = options.key }, subject) =>
      normalizeSubject(subject, key, options.ipv6Subnet),
    ),
  }
}

/** Creates `tp.limiter()`, which is called by subject. */
function createNamedLimiter(
  context: ExtensionContext,
  name: string,
  options: LimiterOptions,
  rules: RuleLookup,
): WaitingLimiter {
  const where = `tp.limiter('${name}')`
  if (!identifier.accepts(name))
    throw optionError('tp.limiter()', 'name', name, identifier.expected, identifier.suggest?.(name))
  validateOptions(where, options, CALL_OPTIONS)
  const { policies: asked } = policiesOf<never>(where, options, name)
  const policies = withLease(where, options.lease, asked, context)
  prepareName(context, where, name, true, policies)
  const engine = new RateLimitEngine(
    context,
    engineOptions('limiter', name, where, options, policies[0]!.lease),
    knownChargesOf(policies, 1),
    rules,
  )
  describeLimit(context.events.counts, engine.options, policies)
  return createLimiter(context, engine, policies, where)
}

/** Claims the name, and warns of windows that are probably meant in seconds, as other packages count. */
function prepareName(
  context: ExtensionContext,
  where: string,
  name: string,
  isExplicit: boolean,
  policies: readonly Policy<never>[],
): void {
  for (const { window, calendar } of policies) {
    if (window !== undefined && window < 1000 && !calendar)
      context.events.warn(
        `${where}: window: ${window} is ${window} milliseconds. For seconds write '${window}s'.`,
      )
  }
  const settings = sharedSettings(policies)
  context.claimName({ where, kind: 'rate limit', name, isExplicit, settings })
}
