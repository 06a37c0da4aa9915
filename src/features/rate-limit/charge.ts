import type { KeySpace, Subject } from '../../store/keys.ts'
import type { KnownPolicy } from './operations/script.ts'
import type { Policy } from './policy.ts'

/** What one request or call asks of one policy. */
export interface Charge {
  readonly policy: Policy<never>
  /** The subject, as the content of the key's hash tag. */
  readonly tag: string
  /** The subject, as decisions and events show it. */
  readonly subject: Subject
  readonly tenant: string | undefined
  /** Divides the subject further, within its hash slot. */
  readonly part?: string
  readonly limit: number
  /** In ms. 0 for calendar months. */
  readonly window: number
  readonly cost: number
}

/** A charge that is known before a request, but for its subject. */
export type KnownCharge = Omit<Charge, 'tag' | 'subject' | 'tenant'>

/** Returns true if all charges are for one subject. */
export function areOfOneSubject(charges: readonly Charge[]): boolean {
  const tag = charges[0]?.tag
  for (let i = 1; i < charges.length; i++) if (charges[i]!.tag !== tag) return false
  return true
}

/** Returns the keys of a script call: one state for each charge, then the overrides of each subject. */
export function keysOf(
  keys: KeySpace,
  charges: readonly Charge[],
  overrideTags: readonly string[],
): string[] {
  const result: string[] = []
  for (const charge of charges) result.push(stateKeyOf(keys, charge))
  for (const tag of overrideTags) result.push(keys.key('limits', tag))
  return result
}

/** Returns the key of a charge's state. */
export function stateKeyOf(keys: KeySpace, { policy: { keySuffix }, tag, part }: Charge): string {
  return keys.key('limit', tag, part === undefined ? keySuffix : `${keySuffix}:${part}`)
}

/** Returns charges by subject. */
export function bySubject(charges: readonly Charge[]): [tag: string, group: readonly Charge[]][] {
  const groups = new Map<string, Charge[]>()
  for (const charge of charges) groups.set(charge.tag, [...(groups.get(charge.tag) ?? []), charge])
  return [...groups]
}

/** Returns what one of several processes admits while each counts by itself. */
export function instanceShareOf({ policy, limit, ...charge }: Charge, instances: number): Charge {
  const burst = policy.burst && Math.ceil(policy.burst / instances)
  return {
    ...charge,
    limit: Math.ceil(limit / instances),
    policy: burst === policy.burst ? policy : { ...policy, burst },
  }
}

/**
 * Returns a charge as scripts know it.
 * @param override which hash of overrides applies, from 1; 0: none
 * @param now the moment whose calendar period is meant
 */
export function knownPolicyOf(
  { policy, limit, window, cost }: KnownCharge,
  override: number,
  now: number,
): KnownPolicy {
  const { algorithm, name, burst, calendar, blockFor, blockMax } = policy
  const period = calendar?.(now)
  const counted = {
    limit,
    window: period ? period.end - period.start : window,
    parameter: algorithm.parameterOf({ limit, burst, periodStart: period?.start }),
  }
  const terms = policy.lease > 0 ? algorithm.underLease(counted, policy.lease) : undefined
  return {
    algorithm,
    name,
    limit,
    window: terms?.window ?? counted.window,
    parameter: counted.parameter,
    cost,
    blockFor,
    blockMax,
    override,
  }
}
