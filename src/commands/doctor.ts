/** `turnpike doctor`: checks the servers, and says what to do. */
import { channel } from 'node:diagnostics_channel'
import { DOES_NOT_APPLY, type Finding } from '../operations/finding.ts'
import { readProcesses } from '../operations/processes.ts'
import { SERVER_CHECKS } from '../operations/server-checks.ts'
import { collectFacts } from '../operations/server-facts.ts'
import { severityOf, THRESHOLDS } from '../operations/thresholds.ts'
import { toCommandError } from './command-error.ts'
import { reportOtherPrefixes } from './other-prefixes.ts'
import type { Command, OutputLine, Tone } from './command.ts'
import { readApplication, reportSource } from './reports.ts'
import type { RedisTarget } from './target.ts'

interface NamedFinding extends Finding {
  readonly check: string
  readonly server: string
}

const TONES: Record<Finding['status'], Tone> = {
  ok: 'good',
  warn: 'review',
  critical: 'bad',
  skip: 'faint',
}
const WORDS: Record<Finding['status'], string> = {
  ok: 'OK',
  warn: 'WARN',
  critical: 'CRITICAL',
  skip: 'SKIP',
}

export const doctor: Command = {
  name: 'doctor',
  usage: '',
  takes: [0, 0],
  summary: 'Check Redis and what turnpike keeps there. Each finding has its remedy.',
  notes: [
    'The exit code is 1 if a check is critical. It is 6 if none is, and a check was skipped because the Redis user lacks a permission, which is named.',
    'Permissions are those of the user that connects: to check those of the application, connect as it does.',
    'With --app it also finds out whether an APM tool in that module receives the arguments of commands.',
  ],
  options: {
    all: { type: 'boolean', help: 'Also show checks that found nothing, with their thresholds.' },
  },
  redis: 'scan',
  permissions: [
    'acl|dryrun',
    'acl|whoami',
    'config|get',
    'dbsize',
    'get',
    'hgetall',
    'hmget',
    'pttl',
    'scan',
    'slowlog|get',
    'time',
    'zrange',
  ],
  examples: ['turnpike doctor --redis redis://localhost:6379 --prefix shop'],
  async run(call) {
    const target = await call.target()
    const findings = await examine(target, call.now)
    findings.push(...(await checkProcesses(target)))
    if (target.hasApp) findings.push(checkApmTools())
    const hasKeys = await reportOtherPrefixes(target, call.warn)
    const isCritical = findings.some(({ status }) => status === 'critical')
    const isIncomplete = findings.some(
      ({ status, value }) => status === 'skip' && value !== DOES_NOT_APPLY,
    )
    const shown = findings.filter(({ status }) => call.options['all'] === true || status !== 'ok')
    const counts = Object.keys(WORDS).map(
      (status) =>
        `${findings.filter((each) => each.status === status).length} ${WORDS[status as 'ok']}`,
    )
    return {
      data: { findings, hasKeys },
      lines: [
        ...shown.flatMap((each) => linesOf(each, call.options['all'] === true)),
        `${findings.length} checks: ${counts.join(', ')}`,
      ],
      exit: isCritical ? 'finding' : isIncomplete ? 'incomplete' : 'done',
    }
  },
}

/** Returns the findings about all servers. */
async function examine(target: RedisTarget, now: () => number): Promise<NamedFinding[]> {
  const findings: NamedFinding[] = []
  for (const { access, areas, db } of await target.servers()) {
    for (const node of access.nodes()) {
      const facts = await collectFacts(node, access, { areas, start: target.start, now })
      const server = db === undefined ? node.address : `${node.address}/${db}`
      for (const { name, check } of SERVER_CHECKS)
        findings.push({ check: name, server, ...check(facts, now()) })
    }
  }
  return findings
}

/** Returns the findings about what the processes report. */
async function checkProcesses(target: RedisTarget): Promise<NamedFinding[]> {
  const [lost, differ] = ['lost processes', 'processes that disagree']
  try {
    const source = await reportSource(target)
    const found = await readProcesses(source)
    const { differing } = await readApplication(source, found)
    const gone = found.filter(({ state }) => state === 'lost')
    return [
      {
        check: lost,
        server: target.start,
        status: severityOf(THRESHOLDS.lostProcesses, gone.length),
        value: `${gone.length} of ${found.length}${gone.map(({ host, pid }) => ` ${host}/${pid}`).join('')}`,
        threshold: 'warn if a process has not reported for 35 s, within an hour',
        ...(gone.length > 0 && {
          remedy:
            'It was killed, or cannot reach Redis. A process that ends in order calls tp.close().',
        }),
      },
      {
        check: differ,
        server: target.start,
        status: differing.length > 0 ? 'warn' : 'ok',
        value: differing.length > 0 ? differing.join(', ') : 'none',
        threshold: 'warn if mounts of one name have other options',
        ...(differing.length > 0 && {
          remedy:
            'During a deploy this ends by itself. Otherwise give all processes the same options: they share counts.',
        }),
      },
    ]
  } catch (error) {
    const known = toCommandError(error)
    if (known === undefined) throw error
    const skipped = { server: target.start, status: 'skip', threshold: '' } as const
    return [lost, differ].map((check) => ({ check, ...skipped, value: known.message }))
  }
}

/** Names of the channels on which ioredis publishes each command, with its arguments. */
const CHANNELS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map(
  (event) => `tracing:ioredis:command:${event}`,
)

/** Finds out whether a tool in this process subscribes to the arguments of commands. */
export function checkApmTools(): NamedFinding {
  const heard = CHANNELS.filter((name) => channel(name).hasSubscribers)
  return {
    check: 'APM leak',
    server: 'this process',
    status: heard.length > 0 ? 'warn' : 'ok',
    value:
      heard.length > 0 ? `${heard.length} channels of ioredis have subscribers` : 'no subscribers',
    threshold: 'warn if a tool receives the arguments of commands',
    ...(heard.length > 0 && {
      remedy:
        'Connections of turnpike publish names only. Another ioredis client of this process, and one that was passed with reuse: true, publishes the arguments of its commands. Tell the tool to mask them.',
    }),
  }
}

function linesOf(
  { check, server, status, value, threshold, remedy }: NamedFinding,
  isLong: boolean,
): OutputLine[] {
  const lines: OutputLine[] = [
    { text: `${WORDS[status].padEnd(8)}  ${check} (${server}): ${value}`, tone: TONES[status] },
  ]
  if (threshold !== '' && (isLong || remedy !== undefined))
    lines.push({ text: `          ${threshold}`, tone: 'faint' })
  if (remedy !== undefined) lines.push(`          ${remedy}`)
  return lines
}
