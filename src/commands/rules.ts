/** `turnpike rules`, `block`, `allow`, `unblock`: who is refused and admitted in all processes. */
import {
  addressRuleId,
  parseRuleId,
  shownRuleTarget,
  subjectRuleId,
} from '../control/rule-table.ts'
import type { StoredEffect } from '../control/rule.ts'
import type { RuleEffect } from '../control/active-rules.ts'
import { parseAddressPrefix } from '../http/address-prefix.ts'
import { rulesKey } from '../operations/control/rule-operations.ts'
import { parseRule } from '../operations/control/stored-rule.ts'
import { durationOf, makeChange, nothingToChange, requireReason } from './change.ts'
import { CommandError, type Command, type CommandCall, type OutputLine } from './command.ts'
import { confirmationOf, CONFIRM_OPTIONS } from './confirmation.ts'
import { orNull } from './find-keys.ts'
import { formatSpan, formatTime } from './format.ts'
import { tableLines } from './output.ts'
import { readRuleList } from './stored-rules.ts'
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

/** Returns how many clients a broad network holds, in a line that is printed before a change. */
function sizeLines(network: string, isBroad: boolean): string[] {
  const length = Number(network.split('/')[1])
  if (!isBroad || !(length >= 0)) return []
  const family = network.includes(':') ? 6 : 4
  if (length === 0) return [`That is every IPv${family} address.`]
  if (family === 6) return [`That is 1 of ${2 ** length} parts of all IPv6 addresses.`]
  return [`That is ${(2 ** (32 - length)).toLocaleString('en')} addresses.`]
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
    options: { ...FOR, ...CONFIRM_OPTIONS },
    redis: 'write',
    async run(call) {
      requireReason(call)
      const ms = durationOf(call, 'for', MAX_MS)
      const target = await call.target()
      const { target: client, shown, isBroad } = clientOf(call, target)
      const span = ms === undefined ? 'until it is lifted' : `for ${formatSpan(ms)}`
      return await makeChange(call, command, target, {
        subject: shown,
        lines: [`${verb} ${shown} ${span}, in all processes.`, ...sizeLines(shown, isBroad)],
        ...(isBroad && effect === 'deny' && { typed: shown }),
        notesItself: true,
        async make({ by, reason }) {
          const why = {
            by: by.slice(0, 100),
            reason: reason!,
            ...(ms !== undefined && { for: ms }),
          }
          const { version } = await target.instance().control[effect](client, why)
          const { data, line, ...exit } = await confirmationOf(call, target, version)
          return {
            data: { target: shown, version, ...data },
            line: `Stored: ${shown}, ${effect}.${line}`,
            ...exit,
          }
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
      'It waits until all processes confirm that it is in force: milliseconds, or ten seconds where the application had no rules yet. The command `turnpike unblock` ends it.',
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
  options: CONFIRM_OPTIONS,
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
        if (!changed)
          return { data: { lifted: false, target: shown }, line: 'It was lifted meanwhile.' }
        const { data, line, ...exit } = await confirmationOf(call, target, version)
        return {
          data: { lifted: true, target: shown, version, ...data },
          line: `Lifted: ${shown}.${line}`,
          ...exit,
        }
      },
    })
  },
}

export const rules: Command = {
  name: 'rules',
  usage: '',
  takes: [0, 0],
  summary:
    'List who is refused and admitted in all processes, the modes of limits, and changed policies.',
  redis: 'read',
  permissions: ['hscan', 'time'],
  async run(call) {
    const target = await call.target()
    const { rules: found, now } = await readRuleList(target)
    const shown = found.map(({ about, at, by, change, effect, enforce, reason, until }) => ({
      target: shownRuleTarget(about),
      effect,
      ...change,
      ...(enforce !== undefined && { enforce }),
      at,
      until: until === Infinity ? null : until,
      by,
      reason,
    }))
    return { data: { rules: shown }, lines: linesOf(shown, now) }
  },
}

function linesOf(
  shown: readonly {
    readonly target: string
    readonly effect: StoredEffect
    readonly limit?: number | undefined
    readonly window?: number | undefined
    readonly burst?: number | undefined
    readonly enforce?: number
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
    ...shown.map(({ target, effect, limit, window, burst, enforce, at, until, by, reason }) => [
      target,
      [
        effect,
        limit !== undefined && `limit=${limit}`,
        window !== undefined && `window=${formatSpan(window)}`,
        burst !== undefined && `burst=${burst}`,
        enforce !== undefined && `${enforce} %`,
      ]
        .filter(Boolean)
        .join(' '),
      formatTime(at),
      until === null ? 'never' : formatSpan(until - now),
      by,
      reason,
    ]),
  ])
}
