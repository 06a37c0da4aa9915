/** `turnpike rules export`, `rules import`, `rules clear`: all rules of an application at once. */
import { readFileSync, statSync } from 'node:fs'
import { parseAddressPrefix } from '../http/address-prefix.ts'
import { policyRuleId, parseRuleId, shownRuleTarget } from '../control/rule-table.ts'
import type { Control, PolicyValues, RuleClient } from '../operations/control/options.ts'
import { isObject } from '../validate.ts'
import { makeChange, nothingToChange, requireReason } from './change.ts'
import { CommandError, type Command } from './command.ts'
import { confirmationOf, CONFIRM_OPTIONS } from './confirmation.ts'
import { readRuleList, type ListedRule } from './stored-rules.ts'

/** Largest file and number of rules of an import: each rule is one entry of the audit. */
const MAX_BYTES = 4_000_000
const MAX_IMPORTED = 1_000

/** A rule as it is exported. */
interface ExportedRule {
  readonly target: string
  readonly effect: string
  readonly subject?: string | readonly string[] | undefined
  readonly tenant?: string | undefined
  readonly limit?: number | undefined
  readonly window?: number | undefined
  readonly burst?: number | undefined
  readonly enforce?: number | undefined
  /** When it ends, in ms since the epoch. Left out: when it is lifted. */
  readonly until?: number
  readonly by: string
  readonly reason: string
}

function exportedRule(rule: ListedRule): ExportedRule {
  const { about, by, change, effect, enforce, reason, subject, tenant, until } = rule
  return {
    target: shownRuleTarget(about),
    effect,
    ...(subject !== undefined && { subject, tenant }),
    ...change,
    ...(enforce !== undefined && { enforce }),
    ...(until !== Infinity && { until }),
    by,
    reason,
  }
}

export const rulesExport: Command = {
  name: 'rules export',
  usage: '',
  takes: [0, 0],
  summary: 'Print the rules, modes and changed policies that people have set, for `rules import`.',
  notes: ['Bans are left out: they end by themselves.'],
  redis: 'read',
  permissions: ['hscan', 'time'],
  examples: ['turnpike rules export > rules.json'],
  async run(call) {
    const { rules: all } = await readRuleList(await call.target())
    const rules = all.filter(({ ban }) => ban === undefined).map(exportedRule)
    return { data: { rules }, lines: JSON.stringify({ rules }, undefined, 2).split('\n') }
  },
}

/** Reads what `rules export` printed, also with `--json`. @throws CommandError */
function readRuleFile(path: string): unknown[] {
  let document: unknown
  try {
    if (statSync(path).size > MAX_BYTES) throw new Error('It is larger than 4 MB')
    document = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new CommandError('usage', `${path} cannot be read: ${(error as Error).message}.`)
  }
  const whole = isObject(document) && isObject(document['data']) ? document['data'] : document
  const rules = isObject(whole) ? whole['rules'] : undefined
  if (!Array.isArray(rules))
    throw new CommandError('usage', `${path} is not what \`turnpike rules export\` prints.`)
  if (rules.length > MAX_IMPORTED)
    throw new CommandError(
      'usage',
      `${path} has ${rules.length} rules. The most are ${MAX_IMPORTED}: name networks in place of their addresses.`,
    )
  return rules
}

type Importing = (control: Control, by: string, reason: string, now: number) => Promise<object>

/** Returns how a rule of a file is set, undefined for one that has ended. @throws CommandError for what is none */
function importing(given: unknown, i: number, now: number): Importing | undefined {
  const rule = (isObject(given) ? given : {}) as Partial<ExportedRule>
  const { burst, effect, enforce, limit, subject, target = '', tenant, until, window } = rule
  if (until !== undefined && until <= now) return undefined
  const wrong = new CommandError(
    'usage',
    `Rule ${i + 1} of the file cannot be used: ${JSON.stringify(given)?.slice(0, 200)}`,
  )
  if (typeof target !== 'string' || (until !== undefined && !Number.isInteger(until))) throw wrong
  const options = (by: string, reason: string, at: number) => ({
    by,
    reason,
    ...(until !== undefined && { for: Math.max(1, until - at) }),
  })
  const [, kind, name = ''] = /^(limit|policy|subject):(.*)$/s.exec(target) ?? []
  if (
    kind === 'limit' &&
    (effect === 'on' || effect === 'shadow' || effect === 'off' || effect === 'closed')
  )
    return (control, by, reason, at) =>
      control.mode(name, effect, {
        ...options(by, reason, at),
        ...(enforce !== undefined && { enforce }),
      })
  if (kind === 'policy' && effect === 'change' && parseRuleId(policyRuleId(name))) {
    const values: PolicyValues = {
      ...(limit !== undefined && { limit }),
      ...(window !== undefined && { window }),
      ...(burst !== undefined && { burst }),
    }
    return (control, by, reason, at) => control.policy(name, values, options(by, reason, at))
  }
  const isClient =
    kind === 'subject' ? subject !== undefined : parseAddressPrefix(target) !== undefined
  if ((effect !== 'deny' && effect !== 'allow') || !isClient) throw wrong
  const client = (kind === 'subject' ? { subject, tenant } : target) as RuleClient
  return (control, by, reason, at) => control[effect](client, options(by, reason, at))
}

export const rulesImport: Command = {
  name: 'rules import',
  usage: 'FILE',
  takes: [1, 1],
  summary: 'Set the rules of a file that `rules export` has printed. Other rules stay.',
  notes: ['Up to 1,000 rules. Each is one entry of the audit. Rules that have ended are left out.'],
  options: CONFIRM_OPTIONS,
  redis: 'write',
  examples: ['turnpike rules import rules.json --reason "the same as in staging"'],
  async run(call) {
    requireReason(call)
    const [path = ''] = call.args
    const given = readRuleFile(path)
    const target = await call.target()
    const { now } = await readRuleList(target)
    const all = given.flatMap((rule, i) => importing(rule, i, now) ?? [])
    if (all.length === 0) return nothingToChange(`${path} has no rule that is still in force.`)
    return await makeChange(call, rulesImport, target, {
      subject: path,
      lines: [`Set ${all.length} rules of ${path}, in all processes.`],
      typed: String(all.length),
      notesItself: true,
      async make({ by, reason }) {
        const { control } = target.instance()
        for (const set of all) await set(control, by.slice(0, 100), reason!, now)
        const { data, line, ...exit } = await confirmationOf(call, target)
        return { data: { count: all.length, ...data }, line: `Set: ${all.length}.${line}`, ...exit }
      },
    })
  },
}

export const rulesClear: Command = {
  name: 'rules clear',
  usage: '',
  takes: [0, 0],
  summary: 'Remove all rules, modes and changed policies, or only those of bans.',
  options: {
    bans: { type: 'boolean', help: 'Only what `tp.ban()` has set.' },
    ...CONFIRM_OPTIONS,
  },
  redis: 'write',
  examples: ['turnpike rules clear --bans --reason "they were customers"'],
  async run(call) {
    requireReason(call)
    const target = await call.target()
    const onlyBans = call.options['bans'] === true
    const { rules } = await readRuleList(target)
    const found = onlyBans ? rules.filter(({ ban }) => ban !== undefined) : rules
    const what = onlyBans ? 'bans' : 'rules'
    if (found.length === 0) return nothingToChange(`There are no ${what}.`)
    return await makeChange(call, rulesClear, target, {
      subject: `all ${what}`,
      lines: [`Forget all ${what}, in all processes: ${found.length}.`],
      typed: target.start,
      notesItself: true,
      async make({ by, reason }) {
        const why = { by: by.slice(0, 100), reason: reason! }
        const only = onlyBans ? ({ only: 'bans' } as const) : {}
        const { version } = await target.instance().control.clear({ ...why, ...only })
        const { data, line, ...exit } = await confirmationOf(call, target, version)
        return { data: { count: found.length, version, ...data }, line: `Removed.${line}`, ...exit }
      },
    })
  },
}
