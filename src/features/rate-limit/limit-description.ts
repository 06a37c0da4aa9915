import type { FeatureCounts } from '../../feature-counts.ts'
import type { RateLimitEngineOptions } from './engine-options.ts'
import type { Policy } from './policy.ts'

/** Notes a limit for the people who operate the application. */
export function describeLimit(
  counts: FeatureCounts,
  { feature, name, fail, thenFail, overrides, denyCache, shadow }: RateLimitEngineOptions,
  policies: readonly Policy<never>[],
): void {
  counts.describe(feature, name, {
    fail,
    thenFail,
    shadow,
    overrides,
    denyCache: denyCache > 0,
    policies: describedPolicies(policies),
  })
}

/** Returns a mount's policies as operators see them. What depends on the request is `null`. */
const describedPolicies = (
  policies: readonly Policy<never>[],
): Readonly<Record<string, unknown>>[] =>
  policies.map((policy) => ({
    name: policy.name,
    limit: policy.limit === Infinity ? 'unlimited' : (policy.limit ?? null),
    windowMs: policy.window ?? null,
    algorithm: policy.algorithm.name,
    burst: policy.burst,
    timeZone: policy.timeZone,
    isMonth: policy.calendar !== undefined && policy.window === 0,
    blockForMs: policy.blockFor,
    blockMaxMs: policy.blockMax,
    leaseMs: policy.lease > 0 ? policy.lease : undefined,
    keySuffix: policy.keySuffix,
  }))
