/** Options of every change that `tp.control` makes. Types only. */
import type { Duration } from '../../duration.ts'

/** Options of a change that a person is responsible for. */
export interface ControlChangeOptions {
  /** Who makes the change, for the audit: 1 to 100 characters. */
  by: string
  /** Why, for the audit: 1 to 200 characters. */
  reason: string
}

/** Options of `tp.control.deny()` and `allow()`. */
export interface RuleOptions extends ControlChangeOptions {
  /** How long the rule is in force, up to ten years. @default until it is lifted */
  for?: Duration
}
