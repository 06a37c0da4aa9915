import { durationOption, durationValidator } from '../../duration.ts'
import type { ExtensionContext } from '../../extension.ts'
import { anyOf, boolean, isObject, optionRuleError, type Validator } from '../../validate.ts'
import { MAX_LEASE_PART } from './algorithms/algorithm.ts'
import { LEASE_SHARE } from './operations/script.ts'
import type { LeaseOption } from './options.ts'
import type { Policy } from './policy.ts'

export const leaseValidator: Validator = anyOf(boolean, {
  expected: "{ for } with a duration like '1s'",
  accepts: (value) => isObject(value) && durationValidator.accepts(value['for']),
})

/** The lease of `true`: this, or the part of the shortest window that follows, if that is shorter. */
const DEFAULT_LEASE = 1000
const DEFAULT_PART = 1 / 16
/** Shorter leases would end on the way. */
const MIN_LEASE = 10

/**
 * Returns the policies of a limit with its lease.
 * @param context whose store counts. The in-process engine has no trip to save: nothing is leased there
 * @throws TP_OPTION if units of the policies can never be leased
 */
export function withLease<Native>(
  where: string,
  option: LeaseOption<string> | undefined,
  policies: readonly Policy<Native>[],
  context: Pick<ExtensionContext, 'store'>,
): readonly Policy<Native>[] {
  if (option === undefined || option === false) return policies
  const ownKey = policies.find(({ key }) => key !== undefined)
  if (ownKey)
    throw optionRuleError(
      where,
      'lease',
      option,
      `\`lease\` requires one subject for all policies. Policy '${ownKey.name}' has its own \`key\`. Use a second limit for it.`,
    )
  const windows = policies.map(({ window, calendar }) => (calendar ? DAY : (window ?? Infinity)))
  const shortest = Math.min(...windows)
  const lease =
    option === true
      ? Math.min(DEFAULT_LEASE, Math.floor(shortest * DEFAULT_PART))
      : durationOption(option.for, where, 'lease')
  const longest = shortest * MAX_LEASE_PART
  if (lease < MIN_LEASE || lease > longest)
    throw optionRuleError(
      where,
      'lease',
      option,
      `The lease is ${lease} ms. It must be ${MIN_LEASE} ms or more, and at most an eighth of the shortest window.`,
    )
  for (const policy of policies) requireQuota(where, option, policy)
  return context.store.kind === 'redis'
    ? policies.map((policy) => ({ ...policy, lease }))
    : policies
}

const DAY = 86_400_000

type LeasedQuota = Pick<Policy<never>, 'name' | 'algorithm' | 'limit' | 'burst'>

/** Throws if no unit of a policy can ever be leased. A function of the request may return other limits. */
function requireQuota(
  where: string,
  option: unknown,
  { name, algorithm, limit = Infinity, burst = limit }: LeasedQuota,
): void {
  const quota = Math.min(limit, burst)
  if (quota * LEASE_SHARE >= 1) return
  throw optionRuleError(
    where,
    'lease',
    option,
    `\`lease\` requires a limit${algorithm.hasBurst ? ' and a burst' : ''} of ${1 / LEASE_SHARE} or more. Policy '${name}' admits ${quota}.`,
  )
}
