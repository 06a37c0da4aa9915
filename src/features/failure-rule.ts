/** What a feature does when the store cannot be used, and how it reports a failure that no request waits for. */
import { isUnavailable } from '../errors.ts'
import type { EventBus } from '../events.ts'

/** Whose failure it is, as events show it. */
export interface FailureSource {
  readonly feature: string
  /** The mount's name. */
  readonly name: string
}

/**
 * Reports that the store could not be used, and returns the rule to follow. A programming error
 * never takes the way of the rule: with `open` it would let every request pass.
 * @throws the error, unless it says that the store is unavailable
 */
export function applyFailureRule<Rule extends string>(
  events: EventBus,
  { feature, name }: FailureSource,
  rule: Rule,
  error: unknown,
): Rule {
  if (!isUnavailable(error)) throw error
  if (events.hasListeners('unavailable')) {
    const { reason, uncertain } = error
    events.emit('unavailable', { feature, name, reason, uncertain, rule })
  }
  return rule
}

/** Reports the failure of a write that no request waits for. */
export function reportFailureOf(
  events: EventBus,
  { feature, name }: FailureSource,
  write: Promise<unknown>,
): void {
  write.catch((error: unknown) => events.emit('error', { feature, name, error }))
}
