/** A rule of `tp.control`, and whether it is in force. */
import type { LimitMode, PolicyChange, RuleEffect } from './active-rules.ts'

/** A rule in force. */
export interface Rule {
  readonly effect: StoredEffect
  /** When it ends, in ms since the epoch by the store's clock. Infinity: when it is lifted. */
  readonly until: number
  /** What a policy counts by, in a rule with the effect `change`. */
  readonly change?: PolicyChange | undefined
  /** Set in a rule of a ban. Any rule of a person that admits the client is stronger. */
  readonly ban?: string | undefined
  /** Share of clients that a limit with the mode `on` refuses, in percent. Undefined: all. */
  readonly enforce?: number | undefined
}

/** What a rule does: with a client, a limit or a policy. */
export type StoredEffect = RuleEffect | LimitMode | 'change'

/** The time is asked for only where a rule ends: it costs as much as the rest of a lookup. */
export const isInForce = ({ until }: Pick<Rule, 'until'>, now: () => number): boolean =>
  until === Infinity || until > now()
