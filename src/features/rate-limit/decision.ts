import type { Subject } from '../../store/keys.ts'

/** Where a decision was made. */
export type DecisionSource =
  /** By the store: Redis, or the in-process engine in its place. */
  | 'store'
  /** In this process, while Redis was away. */
  | 'local'
  /** In this process, from units that it holds (`lease`). They were counted when it got them. */
  | 'lease'
  /** From the memory of an earlier refusal (`denyCache`). */
  | 'deny-cache'
  /** By the failure rule, without counting. */
  | 'open'
  | 'closed'
  /** Without counting, because every limit is `Infinity`. */
  | 'unlimited'
  /** Without counting, by a rule of `tp.control`. */
  | 'rule'

/** One policy's part in a decision. */
export interface PolicyState {
  /** Name of the policy. */
  readonly name: string
  /** Subject that this policy counted. A long string is shown as its digest. */
  readonly subject: Subject
  /** Limit that was applied, overrides included. `Infinity` for a subject that is not limited. */
  readonly limit: number
  /** Window in ms. 0 for calendar months, whose length varies. */
  readonly windowMs: number
  /** Units left after this decision. */
  readonly remaining: number
  /** Time until the oldest counted use leaves the window, in ms (the effective window of draft 11). */
  readonly resetMs: number
  /** Time until the same cost is admitted, in ms. 0 if it was admitted, -1 if it never will be. */
  readonly retryAfterMs: number
  /** True if this policy refused. */
  readonly violated: boolean
  /** True if it refused because the subject is blocked. */
  readonly blocked: boolean
}

/** What a limit decided, and what can be done about it afterwards. */
export interface Decision {
  /** True if the request may pass. */
  readonly allowed: boolean
  /** Where the decision was made. */
  readonly source: DecisionSource
  /**
   * Subject that was counted, as calls like `limiter.reset()` take it. A long string is shown as its
   * digest, which they know.
   */
  readonly subject: Subject
  /** Tenant of the subject. Undefined if the application has no tenants. */
  readonly tenant: string | undefined
  /** Each policy's part. Empty if nothing was counted. */
  readonly policies: readonly PolicyState[]
  /** The policy that refuses longest. If all admit, the one with the least left. Undefined if nothing was counted. */
  readonly tightest: PolicyState | undefined
  /** Limit of the tightest policy. */
  readonly limit: number | undefined
  /** Units left of the tightest policy. */
  readonly remaining: number | undefined
  /** Time until the same cost is admitted, in ms. 0 if it was admitted, undefined if it never will be. */
  readonly retryAfterMs: number | undefined
  /** Time of the decision by the store's clock, in ms since the epoch. 0 if nothing was counted. */
  readonly at: number
  /** Units that were charged. 0 if the request was refused, or its charge was given back. */
  readonly cost: number
  /**
   * Refunds the charge. Does nothing when repeated, or if nothing was charged.
   * @throws TP_UNAVAILABLE if the store cannot answer
   */
  refund(): Promise<void>
  /**
   * Corrects the charge to the actual cost. The difference is charged, also beyond the limit, or given back.
   * @param actual an integer, 0 or more
   * @throws TP_VALUE if `actual` is anything else
   * @throws TP_UNAVAILABLE if the store cannot answer
   * @example
   * const tokens = await complete(req.body.prompt)
   * await req.rateLimit?.settle(tokens)
   */
  settle(actual: number): Promise<void>
}

/** Returns the policy that a client should mind most. */
export function tightestOf(policies: readonly PolicyState[]): PolicyState | undefined {
  let tightest = policies[0]
  for (let i = 1; i < policies.length; i++) {
    const policy = policies[i]!
    if (
      weightOf(policy) > weightOf(tightest!) ||
      (weightOf(policy) === weightOf(tightest!) && policy.remaining < tightest!.remaining)
    ) {
      tightest = policy
    }
  }
  return tightest
}

const weightOf = ({ violated, retryAfterMs }: PolicyState): number =>
  violated ? (retryAfterMs < 0 ? Infinity : 1 + retryAfterMs) : 0
