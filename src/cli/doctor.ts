/** `turnpike doctor`: checks the servers, and says what to do. */
import { channel } from 'node:diagnostics_channel'
import type { Finding } from '../operations/finding.ts'
import { SERVER_CHECKS } from '../operations/server-checks.ts'
import { collectFacts } from '../operations/server-facts.ts'
import { reportOtherPrefixes } from './other-prefixes.ts'
import type { Command, OutputLine, Tone } from './command.ts'
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
    'The exit code is 1 if a check is critical.',
    'A check is skipped if the Redis user lacks a permission, which is named.',
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
    'hmget',
    'pttl',
    'scan',
    'slowlog|get',
  ],
  examples: ['turnpike doctor --redis redis://localhost:6379 --prefix shop'],
  async run(call) {
    const target = await call.target()
    const findings = await examine(target, call.now)
    if (target.hasApp) findings.push(checkApmTools())
    const hasKeys = await reportOtherPrefixes(target, call.warn)
    const isCritical = findings.some(({ status }) => status === 'critical')
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
      exit: isCritical ? 'finding' : 'done',
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
