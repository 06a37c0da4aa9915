import type { RuleEffect } from '../../control/active-rules.ts'
import type { Subject } from '../../store/keys.ts'
import type { Charge } from './charge.ts'
import { tightestOf, type Decision, type DecisionSource, type PolicyState } from './decision.ts'
import { MAX_LIMIT } from './operations/script.ts'
import { checkedValue } from './policy.ts'

/** Changes charges where they were made. */
export interface ChargeAdjuster {
  /** @throws TP_UNAVAILABLE */
  adjust(
    action: 'charge' | 'refund',
    charges: readonly Charge[],
    source: DecisionSource,
    chargedAt: number,
  ): Promise<void>
}

/** A decision that knows how to take itself back. */
export class LimitDecision implements Decision {
  readonly allowed: boolean
  readonly source: DecisionSource
  readonly subject: Subject
  readonly tenant: string | undefined
  readonly policies: readonly PolicyState[]
  readonly tightest: PolicyState | undefined
  readonly limit: number | undefined
  readonly remaining: number | undefined
  readonly retryAfterMs: number | undefined
  readonly at: number
  cost: number
  readonly #adjuster: ChargeAdjuster
  #charges: readonly Charge[]
  /** What each server decided by its own clock, where several did. */
  readonly #parts: readonly LimitDecision[]

  /** @param parts the decisions that this one consists of */
  constructor(
    adjuster: ChargeAdjuster,
    charges: readonly Charge[],
    source: DecisionSource,
    allowed: boolean,
    policies: readonly PolicyState[],
    at: number,
    parts: readonly LimitDecision[] = [],
  ) {
    this.#adjuster = adjuster
    this.#parts = parts
    this.#charges = allowed && at > 0 ? charges : []
    this.source = source
    this.subject = charges[0]!.subject
    this.tenant = charges[0]!.tenant
    this.allowed = allowed
    this.policies = policies
    const tightest = tightestOf(policies)
    this.tightest = tightest
    this.limit = tightest?.limit
    this.remaining = tightest?.remaining
    this.retryAfterMs = allowed ? 0 : retryAfterMsOf(tightest)
    this.at = at
    this.cost = highestCostOf(this.#charges)
  }

  async refund(): Promise<void> {
    const charges = this.#charges
    this.#charges = []
    this.cost = 0
    if (this.#parts.length > 0) await Promise.all(this.#parts.map((part) => part.refund()))
    else if (charges.some(({ cost }) => cost > 0))
      await this.#adjuster.adjust('refund', charges, this.source, this.at)
  }

  async settle(actual: number): Promise<void> {
    checkedValue('cost', actual, this.tightest?.name ?? '')
    const before = this.#charges
    this.#charges = before.map((charge) => ({ ...charge, cost: actual }))
    this.cost = highestCostOf(this.#charges)
    if (this.#parts.length > 0) {
      await Promise.all(this.#parts.map((part) => part.settle(actual)))
      return
    }
    const more = before.map((charge) => ({ ...charge, cost: Math.max(0, actual - charge.cost) }))
    const less = before.map((charge) => ({ ...charge, cost: Math.max(0, charge.cost - actual) }))
    const isDue = ({ cost }: Charge): boolean => cost > 0
    await Promise.all([
      more.some(isDue) && this.#adjuster.adjust('charge', more, this.source, this.at),
      less.some(isDue) && this.#adjuster.adjust('refund', less, this.source, this.at),
    ])
  }
}

function highestCostOf(charges: readonly Charge[]): number {
  let highest = 0
  for (const { cost } of charges) if (cost > highest) highest = cost
  return highest
}

/** Without a count no time is known. A second is a cheap retry. */
function retryAfterMsOf(tightest: PolicyState | undefined): number | undefined {
  if (!tightest) return 1000
  return tightest.retryAfterMs < 0 ? undefined : tightest.retryAfterMs
}

/** Returns the decision in a reply of `applyPolicies`: allowed, now, then five numbers for each policy. */
export function decisionOf(
  adjuster: ChargeAdjuster,
  charges: readonly Charge[],
  source: DecisionSource,
  reply: readonly number[],
): LimitDecision {
  const policies: PolicyState[] = []
  for (let i = 0, at = 2; i < charges.length; i++, at += 5) {
    const violated = reply[at + 4]!
    const { policy, subject, window } = charges[i]!
    const limit = reply[at]!
    const isLimited = limit < MAX_LIMIT
    policies.push({
      name: policy.name,
      subject,
      limit: isLimited ? limit : Infinity,
      windowMs: window,
      remaining: isLimited ? reply[at + 1]! : Infinity,
      resetMs: reply[at + 2]!,
      retryAfterMs: reply[at + 3]!,
      violated: violated > 0,
      blocked: violated === 2,
    })
  }
  return new LimitDecision(adjuster, charges, source, reply[0] === 1, policies, reply[1]!)
}

/** Returns the decision on a request that no policy limits. */
export const unlimitedDecision = (subject: Subject, tenant: string | undefined): Decision =>
  uncountedDecision(true, 'unlimited', subject, tenant)

/** Returns the decision on a request from a client that a rule admits or refuses. */
export const ruleDecision = (
  effect: RuleEffect,
  subject: Subject,
  tenant: string | undefined,
): Decision => uncountedDecision(effect === 'allow', 'rule', subject, tenant)

/** Returns the decision of a limit that an operator has closed. */
export const closedDecision = (subject: Subject, tenant: string | undefined): Decision =>
  uncountedDecision(false, 'closed', subject, tenant)

function uncountedDecision(
  allowed: boolean,
  source: DecisionSource,
  subject: Subject,
  tenant: string | undefined,
): Decision {
  return {
    allowed,
    source,
    subject,
    tenant,
    policies: [],
    tightest: undefined,
    limit: undefined,
    remaining: undefined,
    retryAfterMs: allowed ? 0 : undefined,
    at: 0,
    cost: 0,
    refund: () => Promise.resolve(),
    settle: () => Promise.resolve(),
  }
}

/** Returns the decisions of several hash slots as one, in the order of the charges. */
export function combinedDecisionOf(
  adjuster: ChargeAdjuster,
  charges: readonly Charge[],
  decisions: readonly LimitDecision[],
): LimitDecision {
  const states = new Map(
    decisions.flatMap(({ policies }) => policies.map((policy) => [policy.name, policy])),
  )
  const policies = charges.map(({ policy }) => states.get(policy.name)!)
  const allowed = decisions.every((decision) => decision.allowed)
  const at = Math.max(...decisions.map((decision) => decision.at))
  return new LimitDecision(adjuster, charges, 'store', allowed, policies, at, decisions)
}
