/** Reads the rules of an application with the commands of a viewer. */
import type { PolicyChange } from '../control/active-rules.ts'
import { parseRuleId, type RuleTarget } from '../control/rule-table.ts'
import { MAX_FIELDS_READ, RULES_OF_PAGE, rulesKey } from '../operations/control/rule-operations.ts'
import { parseRule, type StoredAccessRule } from '../operations/control/stored-rule.ts'
import { orNull, serverTime } from './find-keys.ts'
import type { RedisTarget } from './target.ts'

/** A rule in force, with what it is about. */
export interface ListedRule extends StoredAccessRule {
  readonly id: string
  readonly about: RuleTarget
}

/**
 * Returns the rules in force, the newest first, and Redis's time. A rule that changes meanwhile is read
 * as it was before or after.
 */
export async function readRuleList(
  target: RedisTarget,
): Promise<{ rules: readonly ListedRule[]; now: number }> {
  const access = await target.access('operations')
  const key = rulesKey(target.keys('operations'))
  const fields = new Map<string, string>()
  let cursor = '0'
  do {
    const args = [cursor, 'COUNT', RULES_OF_PAGE] as const
    const page = (await orNull(access.send('HSCAN', key, ...args))) as [string, string[]] | null
    const [next, found] = page ?? ['0', []]
    for (let i = 0; i + 1 < found.length; i += 2) fields.set(found[i]!, found[i + 1]!)
    cursor = next
  } while (cursor !== '0' && fields.size < MAX_FIELDS_READ)
  const now = await serverTime(access)
  const rules = [...fields].flatMap(([id, value]): ListedRule[] => {
    const about = parseRuleId(id)
    const rule = about && parseRule(about, value)
    return rule === undefined || rule.until <= now ? [] : [{ ...rule, id, about: about! }]
  })
  return { rules: rules.toSorted((a, b) => b.at - a.at), now }
}

/** Returns how policies are changed, by the name of the limit and the policy. */
export async function readPolicyChanges(
  target: RedisTarget,
): Promise<ReadonlyMap<string, PolicyChange>> {
  const { rules } = await readRuleList(target)
  return new Map(
    rules.flatMap(({ about, change }): [string, PolicyChange][] =>
      about.kind === 'policy' ? [[about.policy, change!]] : [],
    ),
  )
}

/** Returns the name of a policy, as `tp.control.policy()` takes it. */
export const policyPath = (limit: string, policy: string): string =>
  limit === policy ? limit : `${limit}.${policy}`
