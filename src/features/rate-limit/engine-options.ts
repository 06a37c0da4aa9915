import { optionRuleError } from '../../validate.ts'
import type { FailureRule, RateLimitOptions } from './options.ts'

/** Options of an engine, with defaults. */
export interface RateLimitEngineOptions {
  feature: 'rateLimit' | 'loginGuard' | 'limiter'
  name: string
  fail: FailureRule
  /** Rule after `fail: 'local'` when this process cannot count either. */
  thenFail: 'open' | 'closed'
  countDenied: boolean
  overrides: boolean
  /** Refusals that are remembered. 0: none. */
  denyCache: number
  shadow: boolean
  /** Longest time of a lease, in ms. 0: there are none. */
  lease: number
}

const DENY_CACHE_KEYS = 10_000

/** Returns the engine's options among those of a mount. @throws TP_OPTION */
export function engineOptions(
  feature: RateLimitEngineOptions['feature'],
  name: string,
  where: string,
  options: Pick<
    RateLimitOptions<never>,
    'fail' | 'countDenied' | 'overrides' | 'denyCache' | 'shadow'
  >,
  lease = 0,
): RateLimitEngineOptions {
  const {
    fail = 'local',
    countDenied = false,
    overrides = true,
    denyCache = false,
    shadow = false,
  } = options
  if (denyCache && countDenied)
    throw optionRuleError(
      where,
      'denyCache',
      denyCache,
      '`denyCache` cannot be combined with `countDenied`, which counts every refusal in Redis. Leave one of them out.',
    )
  const maxKeys =
    typeof denyCache === 'object' ? denyCache.maxKeys : denyCache ? DENY_CACHE_KEYS : 0
  return {
    feature,
    name,
    fail,
    thenFail: 'open',
    countDenied,
    overrides,
    denyCache: maxKeys,
    shadow,
    lease,
  }
}
