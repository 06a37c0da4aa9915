/** Rate limiting: `tp.rateLimit()`, `tp.limiter()`, `tp.limits`. */
import {
  boolean,
  callback,
  check,
  either,
  identifier,
  isFunction,
  isObject,
  optionError,
  text,
  whole,
  word,
} from '../../check.ts'
import type { Kind } from '../../check.ts'
import type { Feature } from '../../http/exchange.ts'
import type { Ground } from '../ground.ts'
import { constantsOf, deciderOf } from './decider.ts'
import { Engine } from './engine.ts'
import { engineOptions } from './engine-options.ts'
import { rateLimitFeature } from './feature.ts'
import { foreign } from './flexible-mount.ts'
import { limiter, type Limiter, type WaitingLimiter } from './limiter.ts'
import type { LimiterOptions, RateLimitOptions } from './options.ts'
import { FIXED_WINDOW, MOST, POLICY, policiesOf, type Policy } from './policy.ts'

export { keyHelpers } from './keys.ts'
export { limits } from './limits.ts'
export { loginGuard } from './login-guard.ts'

const MOUNT: Record<string, Kind> = {
  ...POLICY,
  policies: { expected: 'a list of policies', accepts: Array.isArray },
  countDenied: boolean,
  fail: word('local', 'open', 'closed'),
  denyCache: either(boolean, { expected: '{ maxKeys }', accepts: isObject }),
  overrides: boolean,
  limiter: {
    expected: 'a limiter of rate-limiter-flexible',
    accepts: (value: unknown) => isFunction((value as { consume?: unknown } | null)?.consume),
  },
}

const REQUEST: Record<string, Kind> = {
  ...MOUNT,
  skip: callback,
  skipSuccessful: boolean,
  skipFailed: boolean,
  shadow: boolean,
  ipv6Subnet: whole(1, 128),
  headers: boolean,
  legacyHeaders: boolean,
  partitionKey: text,
  onLimited: callback,
  reply: callback,
}

const { key: _inRequests, cost: _perCall, limiter: _foreign, ...REST } = MOUNT
const CALL: Record<string, Kind> = { ...REST, limit: whole(0, MOST), window: FIXED_WINDOW }

/** `tp.rateLimit()`: the feature to mount, and its engine. */
export function rateLimit<Native>(
  ground: Ground<Native>,
  options: RateLimitOptions<Native>,
): { feature: Feature<Native>; limiter: Limiter } {
  const where = 'tp.rateLimit()'
  check(where, options, REQUEST)
  if (options.limiter) return foreign(ground, options, where)
  const { name, policies } = policiesOf(where, options, options.name)
  warnOfMilliseconds(ground, where, options)
  ground.claim(name, options.name !== undefined)
  const plain = policies as readonly Policy<never>[]
  const constants = constantsOf(plain, options.cost)
  const engine = new Engine(ground, engineOptions('rateLimit', name, where, options), constants)
  const decider = deciderOf(ground, engine, policies, constants, options, where)
  return {
    feature: rateLimitFeature(decider, options),
    limiter: limiter(ground, engine, plain, where),
  }
}

/** `tp.limiter()`: counting by a subject that is given with each call. */
export function namedLimiter(
  ground: Ground,
  name: string,
  options: LimiterOptions,
): WaitingLimiter {
  const where = `tp.limiter('${name}')`
  if (!identifier.accepts(name))
    throw optionError('tp.limiter()', 'name', name, identifier.expected, identifier.meant?.(name))
  check(where, options, CALL)
  const { policies } = policiesOf<never>(where, options, name)
  warnOfMilliseconds(ground, where, options)
  const engine = new Engine(
    ground,
    engineOptions('limiter', name, where, options),
    constantsOf(policies, 1),
  )
  return limiter(ground, engine, policies, where)
}

/** Other packages count in seconds. */
function warnOfMilliseconds(
  ground: Ground,
  where: string,
  { window, policies = [] }: Pick<LimiterOptions, 'window' | 'policies'> | RateLimitOptions<never>,
): void {
  for (const each of [window, ...policies.map((policy) => policy.window)]) {
    if (typeof each === 'number' && each < 1000)
      ground.events.warn(
        `${where}: window: ${each} is ${each} milliseconds. For seconds write '${each}s'.`,
      )
  }
}
