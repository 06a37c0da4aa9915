/** The event `control`. */
import { parseRuleId, shownRuleTarget } from '../../control/rule-table.ts'
import type { EventBus } from '../../events.ts'
import { parseRule } from './stored-rule.ts'

const NOTHING = { target: undefined, effect: undefined, by: undefined, reason: undefined }

/**
 * Reports that a rule was set or removed.
 * @param rules number of rules now
 * @param rule as it is stored, '' if it was removed
 */
export function reportChange(
  events: EventBus,
  rules: number,
  version: string,
  id: string,
  rule: string,
): void {
  const about = events.hasListeners('control') ? parseRuleId(id) : undefined
  if (about === undefined) return
  const { effect, by, reason } = parseRule(about, rule) ?? NOTHING
  const type = rule === '' ? 'lifted' : 'set'
  const target = shownRuleTarget(about)
  events.emit('control', { type, target, effect, by, reason, rules, version })
}

/** Reports that all rules were read. */
export function reportLoad(events: EventBus, rules: number, version: string): void {
  events.emit('control', { type: 'loaded', ...NOTHING, rules, version })
}
