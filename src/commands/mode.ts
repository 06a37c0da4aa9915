/** `turnpike mode`: what a limit does in all processes, in place of what its options say. */
import { readProcesses } from '../operations/processes.ts'
import { closestMatch } from '../validate.ts'
import { durationOf, makeChange, requireReason } from './change.ts'
import { confirmationOf, CONFIRM_OPTIONS } from './confirmation.ts'
import { CommandError, type Command } from './command.ts'
import { formatSpan } from './format.ts'
import { readApplication, reportSource } from './reports.ts'
import type { RedisTarget } from './target.ts'

const MODES = ['on', 'shadow', 'off', 'closed', 'default'] as const
const DOES: Readonly<Record<(typeof MODES)[number], string>> = {
  on: 'refuse what is above it',
  shadow: 'count, and refuse nothing',
  off: 'let everything pass, and count nothing',
  closed: 'refuse everything with 503',
  default: 'do what its options say',
}

/** The longest time that a mode may be in force. */
const MAX_MS = 3_650 * 86_400_000

/** Returns a sentence about a limit that no process has mounted. One that is deployed later may have the name. */
async function unknownLimit(target: RedisTarget, limit: string): Promise<string | undefined> {
  const source = await reportSource(target)
  const { limits } = await readApplication(source, await readProcesses(source))
  if (limits.length === 0)
    return 'No process of the application reports, so the name of the limit is not checked.'
  const names = [...new Set(limits.map(({ name }) => name))]
  if (names.includes(limit)) return undefined
  const near = closestMatch(limit, names)
  const hint = near === undefined ? `Limits: ${names.join(', ')}.` : `Did you mean ${near}?`
  return `No process has a limit '${limit}'. ${hint}`
}

export const mode: Command = {
  name: 'mode',
  usage: 'LIMIT on|shadow|off|closed|default',
  takes: [2, 2],
  summary: 'Change what a limit does in all processes, until it is set to default.',
  notes: [
    'LIMIT is the name of mounts of `tp.rateLimit()`: the command `turnpike processes` lists what is mounted. A name that no mount has changes nothing, and is reported.',
  ],
  options: {
    for: {
      type: 'string',
      value: 'DURATION',
      help: 'How long, like 30m, 1h or 7d. Default: until it is set to default.',
    },
    enforce: {
      type: 'string',
      value: 'PERCENT',
      help: 'Share of clients that on refuses. For the others the limit only counts. Default: 100.',
    },
    ...CONFIRM_OPTIONS,
  },
  redis: 'write',
  examples: [
    'turnpike mode api shadow --for 1h --reason "too strict"',
    'turnpike mode api on --enforce 25 --reason "a careful start"',
  ],
  async run(call) {
    const [limit = '', given = ''] = call.args
    const chosen = MODES.find((each) => each === given)
    if (chosen === undefined) {
      const near = closestMatch(given, MODES)
      const hint = near === undefined ? `Modes: ${MODES.join(', ')}.` : `Did you mean ${near}?`
      throw new CommandError('usage', `There is no mode '${given}'. ${hint}`)
    }
    if (!/^[\w.-]{1,40}$/.test(limit))
      throw new CommandError('usage', `'${limit}' is no name of a limit.`)
    requireReason(call)
    const ms = durationOf(call, 'for', MAX_MS)
    if (ms !== undefined && chosen === 'default')
      throw new CommandError('usage', '--for does not go with default.')
    const percent = call.options['enforce'] as string | undefined
    const enforce = percent === undefined ? undefined : Number(percent)
    if (enforce !== undefined && chosen !== 'on')
      throw new CommandError('usage', '--enforce goes with on alone.')
    if (enforce !== undefined && !(/^\d{1,3}$/.test(percent!) && enforce <= 100))
      throw new CommandError('usage', `--enforce must be 0 to 100. It is '${percent}'.`)
    const target = await call.target()
    const unknown = await unknownLimit(target, limit)
    const share = enforce === undefined ? '' : ` for ${enforce} % of clients`
    const span = ms === undefined ? '' : ` for ${formatSpan(ms)}`
    return await makeChange(call, mode, target, {
      subject: limit,
      lines: [
        `Set the limit ${limit} to ${chosen}${share}${span}, in all processes: ${DOES[chosen]}.`,
        ...(unknown === undefined ? [] : [unknown]),
      ],
      ...(chosen === 'closed' && { typed: limit }),
      notesItself: true,
      async make({ by, reason }) {
        const why = {
          by: by.slice(0, 100),
          reason: reason!,
          ...(ms !== undefined && { for: ms }),
          ...(enforce !== undefined && { enforce }),
        }
        const { version } = await target.instance().control.mode(limit, chosen, why)
        const { data, line, ...exit } = await confirmationOf(call, target, version)
        return {
          data: { limit, mode: chosen, version, ...data },
          line: `Stored: ${limit}, ${chosen}.${line}`,
          ...exit,
        }
      },
    })
  },
}
