/** `turnpike maintenance on` and `off`: switch maintenance mode in all processes. */
import { CONTEXT } from '../extension.ts'
import {
  inspectMaintenance,
  maintenanceKey,
  MAX_BY,
  openMaintenanceSwitch,
  type MaintenanceState,
} from '../extensions/flags/inspection.ts'
import { identifier } from '../validate.ts'
import { durationOf, makeChange, nothingToChange, textOption } from './change.ts'
import { CommandError, type Command, type CommandCall, type CommandOption } from './command.ts'
import { orNull } from './find-keys.ts'
import { formatSpan, formatTime } from './format.ts'
import type { RedisTarget } from './target.ts'

/** The longest Retry-After. */
const MAX_RETRY = 365 * 86_400_000
/** The change is written at once. The interval at which a switch is read matters only to applications. */
const REFRESH = 1_000

const NAME: CommandOption = {
  type: 'string',
  value: 'NAME',
  help: 'The option `name` of maintenance(). Default: default.',
}

export const maintenanceOn: Command = {
  name: 'maintenance on',
  usage: '',
  takes: [0, 0],
  summary: 'Begin maintenance: maintenance() refuses requests with 503, in all processes.',
  notes: [
    'Health checks pass, and what `allow` of maintenance() lets pass. If it is on already, the new texts replace the old ones.',
  ],
  options: {
    detail: { type: 'string', value: 'TEXT', help: 'What refused clients read.' },
    name: NAME,
    'retry-after': {
      type: 'string',
      value: 'DURATION',
      help: 'When clients may try again, like 10m. Default: what maintenance() says.',
    },
  },
  redis: 'write',
  examples: ['turnpike maintenance on --retry-after 10m --reason "move to a larger server"'],
  async run(call) {
    const retryAfterMs = durationOf(call, 'retry-after', MAX_RETRY)
    const detail = textOption(call, 'detail')
    const name = nameOf(call)
    const target = await call.target()
    const before = await readSwitch(target, name)
    const retry = retryAfterMs === undefined ? '' : ` Retry-After: ${formatSpan(retryAfterMs)}.`
    return await makeChange(call, maintenanceOn, target, {
      subject: name,
      lines: [
        `Begin maintenance '${name}' in all processes under the prefix ${target.start}.${retry}`,
        ...(detail === undefined ? [] : [`Clients read: ${detail}`]),
        sentenceOf(before),
      ],
      async make({ by }) {
        await change(target, name, { on: true, by: by.slice(0, MAX_BY), detail, retryAfterMs })
        return { data: { on: true }, line: 'Maintenance is on.' }
      },
    })
  },
}

export const maintenanceOff: Command = {
  name: 'maintenance off',
  usage: '',
  takes: [0, 0],
  summary: 'End maintenance in all processes.',
  options: { name: NAME },
  redis: 'write',
  async run(call) {
    const name = nameOf(call)
    const target = await call.target()
    const before = await readSwitch(target, name)
    if (!before.on) return nothingToChange(sentenceOf(before))
    return await makeChange(call, maintenanceOff, target, {
      subject: name,
      lines: [
        `End maintenance '${name}' in all processes under the prefix ${target.start}.`,
        sentenceOf(before),
      ],
      async make({ by }) {
        await change(target, name, { on: false, by: by.slice(0, MAX_BY) })
        return { data: { on: false }, line: 'Maintenance is off.' }
      },
    })
  },
}

/** Returns the name of the switch. @throws CommandError */
function nameOf({ options: { name = 'default' } }: CommandCall): string {
  if (identifier.accepts(name)) return String(name)
  throw new CommandError('usage', `--name must be ${identifier.expected}. It is '${String(name)}'.`)
}

/** Reads a switch, with no script. */
async function readSwitch(target: RedisTarget, name: string): Promise<MaintenanceState> {
  const access = await target.access('flags')
  const stored = await orNull(access.send('GET', maintenanceKey(target.keys('flags'), name)))
  return inspectMaintenance(stored as string | null)
}

async function change(
  target: RedisTarget,
  name: string,
  next: Omit<MaintenanceState, 'since'>,
): Promise<void> {
  const context = target.instance()[CONTEXT]('flags')
  await openMaintenanceSwitch(context, name, REFRESH).change(next)
}

function sentenceOf({ on, since, by }: MaintenanceState): string {
  if (since === undefined) return `It is ${on ? 'on' : 'off'} now.`
  return `It is ${on ? 'on' : 'off'} now, since ${formatTime(since)}, by ${by ?? '-'}.`
}
