/** `turnpike plan`: what a policy counts by in all processes, in place of what its options say. */
import { parseDuration } from '../duration.ts'
import { closestMatch } from '../validate.ts'
import { readProcesses } from '../operations/processes.ts'
import type { PolicyValues } from '../operations/control/options.ts'
import { MAX_AMOUNT, MAX_WINDOW_MS } from '../operations/control/stored-rule.ts'
import { durationOf, makeChange, requireReason } from './change.ts'
import { confirmationOf, CONFIRM_OPTIONS } from './confirmation.ts'
import { CommandError, type Command, type CommandCall } from './command.ts'
import { formatSpan } from './format.ts'
import { readApplication, reportSource } from './reports.ts'
import { policyPath } from './stored-rules.ts'
import type { RedisTarget } from './target.ts'

/** The longest time that a change may be in force. */
const MAX_MS = 3_650 * 86_400_000
const NAMES = ['limit', 'window', 'burst']
const usage = (message: string): CommandError => new CommandError('usage', message)

/** Reads `limit=30 window=1m`. @throws CommandError */
function valuesOf(words: readonly string[]): PolicyValues | 'default' {
  if (words.length === 1 && words[0] === 'default') return 'default'
  const values: PolicyValues = {}
  for (const word of words) {
    const [, name = '', value = ''] = /^(\w+)=(.*)$/s.exec(word) ?? []
    if (!NAMES.includes(name)) {
      const near = closestMatch(name || word, [...NAMES, 'default'])
      const hint = near === undefined ? '' : ` Did you mean ${near}?`
      throw usage(`Write limit=30, window=1m, burst=10 or default. It is '${word}'.${hint}`)
    }
    if (name === 'window') {
      const ms = parseDuration(value)
      if (ms === undefined || ms < 1 || ms > MAX_WINDOW_MS)
        throw usage(`window must be a duration like 10s, 1m or 1h, up to 366d. It is '${value}'.`)
      values.window = ms
    } else {
      const amount = Number(value)
      if (!/^\d{1,13}$/.test(value) || amount > MAX_AMOUNT || (name === 'burst' && amount < 1))
        throw usage(`${name} must be an integer. It is '${value}'.`)
      values[name as 'limit' | 'burst'] = amount
    }
  }
  return values
}

/** Requires that a process has mounted the policy, and that it can count by these values. @throws CommandError */
async function requirePolicy(
  call: CommandCall,
  target: RedisTarget,
  path: string,
  values: PolicyValues | 'default',
): Promise<string> {
  const source = await reportSource(target)
  const { limits } = await readApplication(source, await readProcesses(source))
  if (limits.length === 0) {
    call.warn('No process of the application reports, so the name of the policy is not checked.')
    return ''
  }
  const mounted = limits
    .filter(({ kind }) => kind !== 'loginGuard')
    .flatMap((limit) =>
      limit.policies.map((policy) => ({ policy, path: policyPath(limit.name, policy.name) })),
    )
  const found = mounted.find((each) => each.path === path)?.policy
  if (found === undefined) {
    const paths = [...new Set(mounted.map((each) => each.path))]
    const near = closestMatch(path, paths)
    const hint = near === undefined ? `Policies: ${paths.join(', ')}.` : `Did you mean ${near}?`
    throw usage(`No process has mounted a policy '${path}'. ${hint}`)
  }
  if (values === 'default') return ''
  if (found.limit === Infinity)
    throw usage(`${path} has no limit, so it counts nothing. It cannot be changed.`)
  if (values.window !== undefined && (found.isMonth || found.timeZone !== undefined))
    throw usage(`${path} counts by the calendar. Its window cannot be changed.`)
  if (values.burst !== undefined && found.algorithm !== 'gcra')
    throw usage(`${path} has no burst: its algorithm is ${found.algorithm}.`)
  const window = found.window === undefined ? 'varies' : formatSpan(found.window)
  return ` Its options: limit=${found.limit ?? 'varies'} window=${window}.`
}

export const plan: Command = {
  name: 'plan',
  usage: 'LIMIT.POLICY limit=N|window=DURATION|burst=N|default...',
  takes: [2, 4],
  summary: 'Change what a policy counts by in all processes, until it is set to default.',
  notes: [
    'What was counted stays: a limit that is lowered and raised admits no more than the higher one. A limit without `policies` has one policy of its own name: write that name once.',
  ],
  options: {
    for: {
      type: 'string',
      value: 'DURATION',
      help: 'How long, like 30m, 1h or 7d. Default: until it is set to default.',
    },
    ...CONFIRM_OPTIONS,
  },
  redis: 'write',
  examples: ['turnpike plan api.minute limit=30 --for 1h --reason "overload"'],
  async run(call) {
    const [path = '', ...words] = call.args
    if (!/^[\w.-]{1,81}$/.test(path)) throw usage(`'${path}' is no name of a policy.`)
    const values = valuesOf(words)
    requireReason(call)
    const ms = durationOf(call, 'for', MAX_MS)
    if (ms !== undefined && values === 'default')
      throw new CommandError('usage', '--for does not go with default.')
    const target = await call.target()
    const options = await requirePolicy(call, target, path, values)
    const span = ms === undefined ? '' : ` for ${formatSpan(ms)}`
    return await makeChange(call, plan, target, {
      subject: path,
      lines: [`Set the policy ${path} to ${words.join(' ')}${span}, in all processes.${options}`],
      ...(values !== 'default' && values.limit === 0 && { typed: path }),
      notesItself: true,
      async make({ by, reason }) {
        const why = { by: by.slice(0, 100), reason: reason!, ...(ms !== undefined && { for: ms }) }
        const { version } = await target.instance().control.policy(path, values, why)
        const { data, line, ...exit } = await confirmationOf(call, target, version)
        return {
          data: { policy: path, values, version, ...data },
          line: `Stored: ${path}, ${words.join(' ')}.${line}`,
          ...exit,
        }
      },
    })
  },
}
