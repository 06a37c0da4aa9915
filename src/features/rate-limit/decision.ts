/** Where a decision was made. */
export type DecisionSource =
  /** In the store. */
  | 'store'
  /** In this process, while Redis was away. */
  | 'local'
  /** From the memory of an earlier refusal. */
  | 'deny-cache'
  /** By the failure rule, without counting. */
  | 'open'
  | 'closed'

/** One policy's part in a decision. */
export interface PolicyState {
  readonly name: string
  /** The escaped subject that this policy counts, as it stands in the key. */
  readonly subject: string
  readonly limit: number
  /** Milliseconds; 0 for calendar months, whose length varies. */
  readonly windowMs: number
  /** How much is left after this decision. */
  readonly remaining: number
  /** Milliseconds until the oldest counted use leaves the window (draft-11's effective window). */
  readonly resetMs: number
  /** Milliseconds after which the same cost would be admitted; 0 if it was, -1 if it never will be. */
  readonly retryAfterMs: number
  /** Did this policy refuse? */
  readonly violated: boolean
  /** Did it refuse because the subject is blocked? */
  readonly blocked: boolean
}

/** What was decided, and what may be done about it afterwards. */
export interface Decision {
  readonly allowed: boolean
  readonly source: DecisionSource
  /** The escaped subject that was counted, as it stands in the key. */
  readonly subject: string
  readonly policies: readonly PolicyState[]
  /** The policy that refuses longest or, when all admit, has least left; undefined when nothing was counted. */
  readonly tightest: PolicyState | undefined
  /** Of the tightest policy. */
  readonly limit: number | undefined
  /** Of the tightest policy. */
  readonly remaining: number | undefined
  /** Milliseconds after which the same cost would be admitted: 0 if it was; undefined: never. */
  readonly retryAfterMs: number | undefined
  /** When it was made, in ms since the epoch on the store's clock; 0 when nothing was counted. */
  readonly at: number
  /** What was charged: 0 when it was refused, or given back. */
  readonly cost: number
  /**
   * Give the charge back. Harmless when repeated, or when nothing was charged.
   * @throws TP_UNAVAILABLE when the store could not be told
   */
  refund(): Promise<void>
  /**
   * Correct the charge to what it really cost: the difference is charged (even beyond the limit) or given back.
   * @throws TP_VALUE unless `actual` is a whole number
   * @throws TP_UNAVAILABLE when the store could not be told
   */
  settle(actual: number): Promise<void>
}

/** Which policy should the client mind most? */
export function tightestOf(policies: readonly PolicyState[]): PolicyState | undefined {
  let tightest = policies[0]
  for (let i = 1; i < policies.length; i++) {
    const policy = policies[i]!
    if (
      weight(policy) > weight(tightest!) ||
      (weight(policy) === weight(tightest!) && policy.remaining < tightest!.remaining)
    ) {
      tightest = policy
    }
  }
  return tightest
}

const weight = ({ violated, retryAfterMs }: PolicyState): number =>
  violated ? (retryAfterMs < 0 ? Infinity : 1 + retryAfterMs) : 0
