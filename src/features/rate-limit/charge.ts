import { tightestOf, type Decision, type PolicyState, type DecisionSource } from './decision.ts'
import type { RateLimitEngine } from './engine.ts'
import { checked, type Policy } from './policy.ts'

/** What one request or call asks of one policy. */
export interface Charge {
  readonly policy: Policy<never>
  /** The subject, as the content of the key's hash tag. */
  readonly tag: string
  /** Parts the subject further, within its slot. */
  readonly sub?: string
  readonly limit: number
  /** Milliseconds; 0 for calendar months. */
  readonly window: number
  readonly cost: number
}

/** A decision that remembers how to take itself back. */
export class LimitDecision implements Decision {
  readonly allowed: boolean
  readonly source: DecisionSource
  readonly subject: string
  readonly policies: readonly PolicyState[]
  readonly tightest: PolicyState | undefined
  readonly limit: number | undefined
  readonly remaining: number | undefined
  readonly retryAfterMs: number | undefined
  readonly at: number
  cost: number
  readonly #engine: RateLimitEngine
  #charges: readonly Charge[]
  /** What each server decided by its own clock, where several did. */
  readonly #parts: readonly LimitDecision[]

  /** @param parts the decisions of which this one is made */
  constructor(
    engine: RateLimitEngine,
    charges: readonly Charge[],
    source: DecisionSource,
    allowed: boolean,
    policies: readonly PolicyState[],
    at: number,
    parts: readonly LimitDecision[] = [],
  ) {
    this.#engine = engine
    this.#parts = parts
    this.#charges = allowed && at > 0 ? charges : []
    this.source = source
    this.subject = charges[0]!.tag
    this.allowed = allowed
    this.policies = policies
    const tightest = tightestOf(policies)
    this.tightest = tightest
    this.limit = tightest?.limit
    this.remaining = tightest?.remaining
    this.retryAfterMs = allowed ? 0 : retryOf(tightest)
    this.at = at
    this.cost = costOf(this.#charges)
  }

  async refund(): Promise<void> {
    const charges = this.#charges
    this.#charges = []
    this.cost = 0
    if (this.#parts.length > 0) await Promise.all(this.#parts.map((part) => part.refund()))
    else if (charges.some(({ cost }) => cost > 0))
      await this.#engine.adjust('r', charges, this.source, this.at)
  }

  async settle(actual: number): Promise<void> {
    checked('cost', actual, this.tightest?.name ?? '')
    const before = this.#charges
    this.#charges = before.map((charge) => ({ ...charge, cost: actual }))
    this.cost = costOf(this.#charges)
    if (this.#parts.length > 0) {
      await Promise.all(this.#parts.map((part) => part.settle(actual)))
      return
    }
    const more = before.map((charge) => ({ ...charge, cost: Math.max(0, actual - charge.cost) }))
    const less = before.map((charge) => ({ ...charge, cost: Math.max(0, charge.cost - actual) }))
    const due = ({ cost }: Charge): boolean => cost > 0
    await Promise.all([
      more.some(due) && this.#engine.adjust('f', more, this.source, this.at),
      less.some(due) && this.#engine.adjust('r', less, this.source, this.at),
    ])
  }
}

function costOf(charges: readonly Charge[]): number {
  let most = 0
  for (const { cost } of charges) if (cost > most) most = cost
  return most
}

/** Where nothing was counted, nothing tells: try again in a second. */
function retryOf(tightest: PolicyState | undefined): number | undefined {
  if (!tightest) return 1000
  return tightest.retryAfterMs < 0 ? undefined : tightest.retryAfterMs
}

/** Reads the reply of take.lua: allowed, now, then five numbers for each policy. */
export function decisionOf(
  engine: RateLimitEngine,
  charges: readonly Charge[],
  source: DecisionSource,
  reply: readonly number[],
): LimitDecision {
  const policies: PolicyState[] = []
  for (let i = 0, at = 2; i < charges.length; i++, at += 5) {
    const violated = reply[at + 4]!
    const { policy, tag, window } = charges[i]!
    policies.push({
      name: policy.name,
      subject: tag,
      limit: reply[at]!,
      windowMs: window,
      remaining: reply[at + 1]!,
      resetMs: reply[at + 2]!,
      retryAfterMs: reply[at + 3]!,
      violated: violated > 0,
      blocked: violated === 2,
    })
  }
  return new LimitDecision(engine, charges, source, reply[0] === 1, policies, reply[1]!)
}

/** The decisions of several slots as one, in the order of the charges. */
export function unitedOf(
  engine: RateLimitEngine,
  charges: readonly Charge[],
  decisions: readonly LimitDecision[],
): LimitDecision {
  const states = new Map(
    decisions.flatMap(({ policies }) => policies.map((policy) => [policy.name, policy])),
  )
  const policies = charges.map(({ policy }) => states.get(policy.name)!)
  const allowed = decisions.every((decision) => decision.allowed)
  return new LimitDecision(
    engine,
    charges,
    'store',
    allowed,
    policies,
    Math.max(...decisions.map(({ at }) => at)),
    decisions,
  )
}
