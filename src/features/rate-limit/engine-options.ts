import { optionError } from '../../validate.ts'
import type { FailureRule, RateLimitOptions } from './options.ts'

/** What an engine goes by, defaults filled in. */
export interface RateLimitEngineOptions {
  feature: 'rateLimit' | 'loginGuard' | 'limiter'
  name: string
  fail: FailureRule
  /** After `fail: 'local'` when the floor itself cannot count. */
  thenFail: 'open' | 'closed'
  countDenied: boolean
  overrides: boolean
  denyCache: number
  shadow: boolean
}

/** The engine's options out of a mount's. */
export function engineOptions(
  feature: RateLimitEngineOptions['feature'],
  name: string,
  where: string,
  options: Pick<
    RateLimitOptions<never>,
    'fail' | 'countDenied' | 'overrides' | 'denyCache' | 'shadow'
  >,
): RateLimitEngineOptions {
  const {
    fail = 'local',
    countDenied = false,
    overrides = true,
    denyCache = false,
    shadow = false,
  } = options
  if (denyCache && countDenied)
    throw optionError(
      where,
      'denyCache',
      denyCache,
      'left out with countDenied, which counts every refusal in Redis',
    )
  const maxKeys = typeof denyCache === 'object' ? denyCache.maxKeys : denyCache ? 10_000 : 0
  return {
    feature,
    name,
    fail,
    thenFail: 'open',
    countDenied,
    overrides,
    denyCache: maxKeys,
    shadow,
  }
}
