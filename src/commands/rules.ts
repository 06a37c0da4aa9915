/** `turnpike rules`, `block`, `allow`, `unblock`: who is refused and admitted in all processes. */
import {
  addressRuleId,
  parseRuleId,
  subjectRuleId,
  type RuleTarget,
} from '../control/rule-table.ts'
import type { LimitMode, RuleEffect } from '../control/active-rules.ts'
import { parseAddressPrefix } from '../http/address-prefix.ts'
import { rulesKey } from '../operations/control/rule-operations.ts'
import { parseRule } from '../operations/control/stored-rule.ts'
import { durationOf, makeChange, nothingToChange, requireReason } from './change.ts'
import { CommandError, type Command, type CommandCall, type OutputLine } from './command.ts'
import { orNull, serverTime } from './find-keys.ts'
import { formatSpan, formatTime } from './format.ts'
import { tableLines } from './output.ts'
import type { RedisTarget } from './target.ts'

/** The longest time that a rule may be in force. */
const MAX_MS = 3_650 * 86_400_000
/** Networks of shorter prefixes concern many clients: the network has to be typed. */
const BROAD = { 4: 16, 6: 32 } as const

/** Whom a command line means. */
interface NamedClient {
  readonly id: string
  /** As the instance takes it. */
  readonly target: string | { subject: string; tenant?: string | undefined }
  readonly shown: string
  readonly isBroad: boolean
}

/** @throws CommandError */
function clientOf({ args }: CommandCall, target: RedisTarget): NamedClient {
  const [given = ''] = args
  const [, subject] = /^subject:(.+)$/s.exec(given) ?? []
  if (subject !== undefined) {
    const { tenant } = target
    const tag = target.keys('operations').tag(subject, tenant, true)
    return { id: subjectRuleId(tag), target: { subject, tenant }, shown: given, isBroad: false }
  }
  const prefix = parseAddressPrefix(given)
  if (prefix === undefined)
    throw new CommandError(
      'usage',
      `'${given}' is no address and no network. Write 203.0.113.7, 203.0.113.0/24 or subject:NAME.`,
    )
  const { family, length, text } = prefix
  const isBroad = length < BROAD[family]
  return { id: addressRuleId(prefix), target: text, shown: text, isBroad }
}

const FOR = {
  for: {
    type: 'string',
    value: 'DURATION',
    help: 'How long, like 30m, 1h or 7d. Default: until it is lifted.',
  },
} as const

/** Returns the command that sets a rule. */
function settingCommand(
  own: Pick<Command, 'name' | 'summary' | 'notes' | 'examples'>,
  effect: RuleEffect,
  verb: string,
): Command {
  const command: Command = {
    ...own,
    usage: 'ADDRESS|NETWORK|subject:NAME',
    takes: [1, 1],
    options: FOR,
    redis: 'write',
    async run(call) {
      requireReason(call)
      const ms = durationOf(call, 'for', MAX_MS)
      const target = await call.target()
      const { target: client, shown, isBroad } = clientOf(call, target)
      const span = ms === undefined ? 'until it is lifted' : `for ${formatSpan(ms)}`
      return await makeChange(call, command, target, {
        subject: shown,
        lines: [`${verb} ${shown} ${span}, in all processes.`],
        ...(isBroad && effect === 'deny' && { typed: shown }),
        notesItself: true,
        async make({ by, reason }) {
          const why = {
            by: by.slice(0, 100),
            reason: reason!,
            ...(ms !== undefined && { for: ms }),
          }
          const { version } = await target.instance().control[effect](client, why)
          return { data: { target: shown, version }, line: `Stored: ${shown}, ${effect}.` }
        },
      })
    },
  }
  return command
}

export const block: Command = settingCommand(
  {
    name: 'block',
    summary: 'Refuse an address, a network or a subject in all processes.',
    notes: [
      'Processes with the gate receive it within milliseconds, others compare every ten seconds. The command `turnpike unblock` ends it.',
    ],
    examples: ['turnpike block 203.0.113.0/24 --for 1h --reason "scraper"'],
  },
  'deny',
  'Block',
)

export const allow: Command = settingCommand(
  {
    name: 'allow',
    summary: 'Admit an address, a network or a subject in all processes, and count nothing for it.',
    notes: [
      'It is an exception from a block of a larger network. The command `turnpike unblock` ends it.',
    ],
    examples: ['turnpike allow 203.0.113.7 --reason "our monitoring"'],
  },
  'allow',
  'Allow',
)

export const unblock: Command = {
  name: 'unblock',
  usage: 'ADDRESS|NETWORK|subject:NAME',
  takes: [1, 1],
  summary: 'Lift the rule for exactly this address, network or subject.',
  redis: 'write',
  examples: ['turnpike unblock 203.0.113.0/24 --reason "it was a customer"'],
  async run(call) {
    requireReason(call)
    const target = await call.target()
    const { id, target: client, shown } = clientOf(call, target)
    const access = await target.access('operations')
    const key = rulesKey(target.keys('operations'))
    const stored = (await orNull(access.send('HGET', key, id))) as string | null
    if (stored === null) return nothingToChange(`There is no rule for ${shown}.`)
    const rule = parseRule(parseRuleId(id)!, stored)
    const effect = rule?.effect ?? 'a rule that this version cannot read'
    return await makeChange(call, unblock, target, {
      subject: shown,
      lines: [`Unblock ${shown}: lift its rule (${effect}) in all processes.`],
      notesItself: true,
      async make({ by, reason }) {
        const why = { by: by.slice(0, 100), reason: reason! }
        const { changed, version } = await target.instance().control.lift(client, why)
        return {
          data: { lifted: changed, target: shown, version },
          line: changed ? `Lifted: ${shown}.` : 'It was lifted meanwhile.',
        }
      },
    })
  },
}

export const rules: Command = {
  name: 'rules',
  usage: '',
  takes: [0, 0],
  summary: 'List who is refused and admitted in all processes, and the modes of limits.',
  redis: 'read',
  permissions: ['hgetall'],
  async run(call) {
    const target = await call.target()
    const access = await target.access('operations')
    const key = rulesKey(target.keys('operations'))
    const fields = ((await orNull(access.send('HGETALL', key))) as string[] | null) ?? []
    const now = await serverTime(access)
    const found = Array.from({ length: fields.length >> 1 }, (_, i) => {
      const about = parseRuleId(fields[2 * i]!)
      const rule = about && parseRule(about, fields[2 * i + 1]!)
      return rule === undefined || rule.until <= now
        ? []
        : [{ ...rule, target: shownTarget(about!) }]
    })
      .flat()
      .toSorted((a, b) => b.at - a.at)
    const shown = found.map(({ at, by, effect, reason, target: client, until }) => ({
      target: client,
      effect,
      at,
      until: until === Infinity ? null : until,
      by,
      reason,
    }))
    return { data: { rules: shown }, lines: linesOf(shown, now) }
  },
}

/** Returns a target as command lines name it. */
function shownTarget(target: RuleTarget): string {
  if (target.kind === 'address') return target.prefix.text
  return target.kind === 'subject' ? `subject:${target.tag}` : `limit:${target.limit}`
}

function linesOf(
  shown: readonly {
    readonly target: string
    readonly effect: RuleEffect | LimitMode
    readonly at: number
    readonly until: number | null
    readonly by: string
    readonly reason: string
  }[],
  now: number,
): readonly OutputLine[] {
  if (shown.length === 0) return ['There is no rule.']
  return tableLines([
    ['who', 'rule', 'since', 'ends in', 'by', 'why'],
    ...shown.map(({ target, effect, at, until, by, reason }) => [
      target,
      effect,
      formatTime(at),
      until === null ? 'never' : formatSpan(until - now),
      by,
      reason,
    ]),
  ])
}
