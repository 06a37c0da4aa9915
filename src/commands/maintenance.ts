/** `turnpike maintenance on` and `off`: switch maintenance mode in all processes. */
import {
  DEFAULT_SWITCH,
  inspectMaintenance,
  isBypass,
  maintenanceKey,
  MAX_BY,
  MAX_EXEMPT,
  openMaintenanceSwitch,
  type StoredMaintenance,
} from '../documents/maintenance-switch.ts'
import { CONTEXT } from '../extension.ts'
import { identifier } from '../validate.ts'
import { parseAddressPrefix } from '../http/address-prefix.ts'
import { type ChangeAuthor, durationOf, makeChange, nothingToChange, textOption } from './change.ts'
import { CommandError, type Command, type CommandCall, type CommandOption } from './command.ts'
import { orNull } from './find-keys.ts'
import { formatSpan, formatTime } from './format.ts'
import type { RedisTarget } from './target.ts'

/** The longest Retry-After. */
const MAX_RETRY = 365 * 86_400_000
/** The longest maintenance that ends by itself. */
const MAX_MS = 3_650 * 86_400_000
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
  summary:
    'Begin maintenance: tp.gate() and maintenance() refuse requests with 503, in all processes.',
  notes: [
    'Health checks pass, and what `allow` of maintenance() lets pass. If it is on already, the new settings replace the old ones.',
  ],
  options: {
    allow: {
      type: 'string',
      value: 'NETWORKS',
      help: 'Addresses and networks that pass, separated by commas.',
    },
    bypass: {
      type: 'string',
      value: 'PATHS',
      help: 'Paths that pass with all below them, separated by commas.',
    },
    detail: { type: 'string', value: 'TEXT', help: 'What refused clients read.' },
    for: {
      type: 'string',
      value: 'DURATION',
      help: 'How long, like 30m or 2h. Default: until it is switched off.',
    },
    name: NAME,
    'retry-after': {
      type: 'string',
      value: 'DURATION',
      help: 'When clients may try again, like 10m. Default: what maintenance() says.',
    },
  },
  redis: 'write',
  examples: [
    'turnpike maintenance on --retry-after 10m --reason "move to a larger server"',
    'turnpike maintenance on --allow 203.0.113.0/24 --bypass /webhooks --for 2h --reason "a migration"',
  ],
  async run(call) {
    const retryAfterMs = durationOf(call, 'retry-after', MAX_RETRY)
    const detail = textOption(call, 'detail')
    const name = nameOf(call)
    const ms = durationOf(call, 'for', MAX_MS)
    const allow = exemptOf(call, 'allow', 'an address or a network', normalNetwork)
    const bypass = exemptOf(
      call,
      'bypass',
      "a path like /webhooks, without '/' at the end",
      (path) => (isBypass(path) ? path : undefined),
    )
    const target = await call.target()
    const before = await readSwitch(call, target, name)
    const exempt = [...(allow ?? []), ...(bypass ?? [])]
    const span = ms === undefined ? '' : ` It ends after ${formatSpan(ms)}.`
    const retry = retryAfterMs === undefined ? '' : ` Retry-After: ${formatSpan(retryAfterMs)}.`
    return await makeChange(call, maintenanceOn, target, {
      subject: name,
      lines: [
        `Begin maintenance '${name}' in all processes under the prefix ${target.start}.${retry}${span}`,
        ...(exempt.length === 0 ? [] : [`What passes: ${exempt.join(' ')}`]),
        ...(detail === undefined ? [] : [`Clients read: ${detail}`]),
        sentenceOf(before),
      ],
      async make(author) {
        const next = { on: true, detail, retryAfterMs, allow, bypass }
        await change(target, name, author, next, ms)
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
    const before = await readSwitch(call, target, name)
    if (!before.on) return nothingToChange(sentenceOf(before))
    return await makeChange(call, maintenanceOff, target, {
      subject: name,
      lines: [
        `End maintenance '${name}' in all processes under the prefix ${target.start}.`,
        sentenceOf(before),
      ],
      async make(author) {
        await change(target, name, author, { on: false })
        return { data: { on: false }, line: 'Maintenance is off.' }
      },
    })
  },
}

/** Returns the name of the switch. @throws CommandError */
function nameOf({ options: { name = DEFAULT_SWITCH } }: CommandCall): string {
  if (identifier.accepts(name)) return String(name)
  throw new CommandError('usage', `--name must be ${identifier.expected}. It is '${String(name)}'.`)
}

/** Reads a switch, with no script. */
async function readSwitch(
  { now }: CommandCall,
  target: RedisTarget,
  name: string,
): Promise<StoredMaintenance> {
  const access = await target.access('operations')
  const stored = await orNull(access.send('GET', maintenanceKey(target.keys('operations'), name)))
  const { on, until, ...state } = inspectMaintenance(stored as string | null)
  return { ...state, until, on: on && (until === undefined || until > now()) }
}

/** Returns what an option lists. @throws CommandError */
function exemptOf(
  { options }: CommandCall,
  name: string,
  expected: string,
  parse: (each: string) => string | undefined,
): string[] | undefined {
  const given = options[name] as string | undefined
  const all = given?.split(',').map((each) => parse(each.trim()))
  if (all === undefined) return undefined
  if (all.length <= MAX_EXEMPT && all.every((each) => each !== undefined)) return all
  throw new CommandError(
    'usage',
    `--${name}: each of up to ${MAX_EXEMPT} parts must be ${expected}.`,
  )
}

const normalNetwork = (text: string): string | undefined => parseAddressPrefix(text)?.text

async function change(
  target: RedisTarget,
  name: string,
  { by, reason }: ChangeAuthor,
  next: Omit<StoredMaintenance, 'since' | 'until'>,
  ms?: number,
): Promise<void> {
  const context = target.instance()[CONTEXT]('operations')
  const held = openMaintenanceSwitch(context, name, REFRESH)
  await held.change({ ...next, by: by.slice(0, MAX_BY), reason }, ms)
}

function sentenceOf({ on, since, by, until }: StoredMaintenance): string {
  if (since === undefined) return `It is ${on ? 'on' : 'off'} now.`
  return `It is ${on ? 'on' : 'off'} now, since ${formatTime(since)}, by ${by ?? '-'}${!on || until === undefined ? '' : `, until ${formatTime(until)}`}.`
}
