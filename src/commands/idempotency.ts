/** `turnpike idempotency`: requests with an idempotency key, and those that are stuck. */
import { severityOf, THRESHOLDS } from '../operations/thresholds.ts'
import type { ServerAccess } from '../store/server-access.ts'
import { CommandError, type Command } from './command.ts'
import { createScan, orNull, SCAN_OPTIONS, seenOf, serverTime } from './find-keys.ts'
import { formatBytes, formatSpan } from './format.ts'
import { compareNames, tableLines } from './output.ts'
import type { RedisTarget } from './target.ts'

const STATES = ['running', 'stuck', 'released', 'completed'] as const
type RecordState = (typeof STATES)[number]

/** What a record says of its request. The client's key and the owner are not in Redis. */
export interface InspectedRecord {
  /** What `idempotency show` takes: mount and digest. */
  readonly id: string
  readonly state: RecordState
  /** Number of attempts, undefined for a request that was completed. */
  readonly attempts: number | undefined
  /** In ms since the epoch. */
  readonly leaseEnds: number | undefined
  readonly expires: number
  readonly responseBytes: number
  readonly steps: number
  /** Fingerprint and owner: what a release compares. */
  readonly claim: string
}

/** Returns the key of a record. */
export const recordKey = (target: RedisTarget, id: string): string => {
  // Mount and digest are parts without special characters, so they stand in the tag as they are.
  if (!/^(?:[\w.@%~-]+=)?[\w.@%~-]+(:[\w.@%~-]+)?$/.test(id))
    throw new CommandError('usage', `'${id}' is no ID of \`turnpike idempotency find\`.`)
  return target.keys('idempotency').key('idempotency', id)
}

/** Reads a record. Undefined if there is none, or another program has written it. */
export async function readRecord(
  access: ServerAccess,
  key: string,
  id: string,
  now: number,
): Promise<InspectedRecord | undefined> {
  const fields = (await orNull(access.send('HMGET', key, 'f', 'l'))) as (string | null)[] | null
  const [claim, times] = fields ?? []
  const kind = { p: 'running', r: 'released', c: 'completed' }[claim?.[0] ?? ''] as
    | RecordState
    | undefined
  const [, ends, lease, , attempts] = /^(\d+) ?(\d*) ?(\d*) ?(\d*)$/.exec(times ?? '') ?? []
  if (claim == null || kind === undefined || ends === undefined || Number(ends) <= now)
    return undefined
  const leaseEnds = lease === '' ? undefined : Number(lease)
  const isStuck =
    kind === 'running' && severityOf(THRESHOLDS.stuckKey, now - (leaseEnds ?? now)) !== 'ok'
  const size = Number(await access.send('HSTRLEN', key, 'a'))
  const count = Number(await access.send('HLEN', key))
  return {
    id,
    state: isStuck ? 'stuck' : kind,
    attempts: attempts ? Number(attempts) : undefined,
    leaseEnds,
    expires: Number(ends),
    responseBytes: size,
    steps: kind === 'completed' ? 0 : Math.max(0, count - 3),
    claim: claim.slice(1),
  }
}

/** Returns a record without its claim, which is of no use to a person. */
const shown = (record: InspectedRecord): object => ({ ...record, claim: undefined })

export const idempotencyFind: Command = {
  name: 'idempotency find',
  usage: '',
  takes: [0, 0],
  summary: 'List requests with an idempotency key, for example those that are stuck.',
  notes: [
    'A request is stuck if its process was killed: its lease has ended, and no client has sent the key again.',
  ],
  options: {
    state: { type: 'string', value: 'STATE', help: `Only ${STATES.join(', ')}. Default: all.` },
    name: { type: 'string', value: 'MOUNT', help: 'Only those of a mount.' },
    ...SCAN_OPTIONS,
  },
  redis: 'scan',
  permissions: ['dbsize', 'hlen', 'hmget', 'hstrlen', 'scan', 'time'],
  examples: ['turnpike idempotency find --state stuck'],
  async run(call) {
    const { state, name } = call.options
    if (state !== undefined && !STATES.includes(state as RecordState))
      throw new CommandError(
        'usage',
        `--state must be ${STATES.join(', ')}. It is '${String(state)}'.`,
      )
    const target = await call.target()
    const access = await target.access('idempotency')
    const now = await serverTime(access)
    const scan = createScan(target, call.options, ['idempotency'])
    const records: InspectedRecord[] = []
    for await (const batch of scan.keys()) {
      const read = await Promise.all(
        batch
          .filter(({ sub }) => sub === undefined)
          .filter(({ tag }) => name === undefined || mountOf(tag) === name)
          .map(({ access, key, tag }) => readRecord(access, key, tag, now)),
      )
      for (const record of read)
        if (record && (state === undefined || record.state === state)) records.push(record)
    }
    const seen = seenOf(scan.progress)
    const sorted = records.toSorted(
      (a, b) => (a.leaseEnds ?? now) - (b.leaseEnds ?? now) || compareNames(a.id, b.id),
    )
    return {
      data: { now, records: sorted.map(shown), scan: seen.data },
      lines: [...linesOf(sorted, now), seen.line],
      exit: !scan.progress.isComplete ? 'incomplete' : records.length > 0 ? 'done' : 'finding',
    }
  },
}

const mountOf = (tag: string): string => tag.replace(/^[^=]*=/, '').split(':', 1)[0]!

export const idempotencyShow: Command = {
  name: 'idempotency show',
  usage: 'ID',
  takes: [1, 1],
  summary: 'Show one request with an idempotency key.',
  notes: [
    'The ID is that of `turnpike idempotency find`, and the `subject` of the event `idempotency`.',
  ],
  redis: 'read',
  permissions: ['hlen', 'hmget', 'hstrlen', 'time'],
  async run(call) {
    const [id = ''] = call.args
    const target = await call.target()
    const access = await target.access('idempotency')
    const now = await serverTime(access)
    const record = await readRecord(access, recordKey(target, id), id, now)
    if (record === undefined)
      return { data: { now, record: null }, lines: ['There is no such request.'], exit: 'finding' }
    return { data: { now, record: shown(record) }, lines: linesOf([record], now) }
  },
}

function linesOf(records: readonly InspectedRecord[], now: number): ReturnType<typeof tableLines> {
  if (records.length === 0) return ['There is no such request.']
  return tableLines([
    ['id', 'state', 'attempts', 'lease', 'kept for', 'response', 'steps'],
    ...records.map((record) => [
      record.id,
      record.state,
      record.attempts ?? '-',
      leaseOf(record, now),
      formatSpan(record.expires - now),
      record.responseBytes > 0 ? formatBytes(record.responseBytes) : '-',
      record.steps,
    ]),
  ])
}

function leaseOf({ leaseEnds, state }: InspectedRecord, now: number): string {
  if (leaseEnds === undefined || state === 'completed' || state === 'released') return '-'
  return leaseEnds > now
    ? `ends in ${formatSpan(leaseEnds - now)}`
    : `ended ${formatSpan(now - leaseEnds)} ago`
}
