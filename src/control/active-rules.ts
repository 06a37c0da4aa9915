/** The rules and modes in force, as features ask for them. Their table is loaded with the first one. */
import type { Refusal } from '../http/refusal.ts'

/** What a rule does with a client. */
export type RuleEffect =
  /** It is refused. */
  | 'deny'
  /** It is admitted, and no limit counts it. */
  | 'allow'

/** What a limit does, in place of what its options say. */
export type LimitMode =
  /** It refuses, also with `shadow: true`. */
  | 'on'
  /** It counts and reports, and refuses no request. */
  | 'shadow'
  /** It lets every request pass without counting. */
  | 'off'
  /** It refuses every request with 503. */
  | 'closed'

/** What a policy counts by, in place of what its options say. What is undefined stays. */
export interface PolicyChange {
  readonly limit?: number | undefined
  /** In ms. */
  readonly window?: number | undefined
  readonly burst?: number | undefined
}

/** What features ask of the rules. */
export interface RuleLookup {
  /** Number of rules for clients. Ask nothing about clients while it is 0. */
  readonly size: number
  /** Number of policies that are changed. Ask for none while it is 0. */
  readonly changes: number
  /** Number of all rules, for clients, limits and policies. */
  readonly total: number
  /** Number of changes that led to these rules since the first one, 0 if none is known. */
  readonly writes: number
  /**
   * Returns what the rules say of a client. Undefined if none is about it.
   *
   * A rule for a subject is as specific as one for a single address, and more specific than one for
   * a network. If two equally specific rules disagree, the client is refused.
   * @param address the client's address, '' if there is none
   * @param tags what the client is counted by, as the content of hash tags
   */
  effectOn(address: string, ...tags: readonly string[]): RuleEffect | undefined
  /** Returns the mode of a limit, undefined if its options decide. */
  modeOf(limit: string): LimitMode | undefined
  /** Returns the share of clients that a limit with the mode `on` refuses, in percent. */
  enforcedShareOf(limit: string): number
  /**
   * Returns how a policy is changed, always the same object until it is changed again. Undefined if its
   * options decide.
   * @param policy the name of its limit, a dot, and its own name; one name if the two are equal
   */
  changeOf(policy: string): PolicyChange | undefined
}

/** The rules of an instance. There are none until a table of them is used. */
export class ActiveRules implements RuleLookup {
  #table: RuleLookup | undefined

  get size(): number {
    return this.#table === undefined ? 0 : this.#table.size
  }

  get changes(): number {
    return this.#table === undefined ? 0 : this.#table.changes
  }

  get total(): number {
    return this.#table === undefined ? 0 : this.#table.total
  }

  get writes(): number {
    return this.#table === undefined ? 0 : this.#table.writes
  }

  /** Takes the rules from a table from now on. */
  use(table: RuleLookup): void {
    this.#table = table
  }

  effectOn(address: string, ...tags: readonly string[]): RuleEffect | undefined {
    return this.#table?.effectOn(address, ...tags)
  }

  modeOf(limit: string): LimitMode | undefined {
    return this.#table?.modeOf(limit)
  }

  enforcedShareOf(limit: string): number {
    return this.#table === undefined ? 100 : this.#table.enforcedShareOf(limit)
  }

  changeOf(policy: string): PolicyChange | undefined {
    return this.#table?.changeOf(policy)
  }
}

/** The refusal of a client that a rule refuses. It names neither the rule nor its reason. */
export const deniedRefusal: Refusal = {
  status: 403,
  code: 'TP_DENIED',
  detail: 'Requests from this client are not accepted.',
}
