/** `turnpike locks`: who holds locks and permits. */
import { processOf } from '../features/lease-owner.ts'
import type { ServerAccess } from '../store/server-access.ts'
import { CommandError, type Command, type CommandCall, type CommandResult } from './command.ts'
import {
  createScan,
  orNull,
  SCAN_OPTIONS,
  seenOf,
  serverTime,
  type ScannedKey,
} from './find-keys.ts'
import { formatSpan } from './format.ts'
import { compareNames, tableLines } from './output.ts'
import type { RedisTarget } from './target.ts'

/** A lock or permit that is held. */
export interface HeldRow {
  readonly kind: 'lock' | 'once' | 'semaphore' | 'concurrency'
  /** Name as keys contain it. */
  readonly name: string
  readonly host: string
  readonly pid: number
  /** Fencing token. Permits have none. */
  readonly token: number | undefined
  /** Names a permit among those of its process. Locks have none. */
  readonly permit: string | undefined
  /** What releases a permit in place of its holder. It is not shown. Locks have none. */
  readonly owner?: string
  /** In ms since the epoch. */
  readonly since: number
  readonly until: number
  readonly waiting: number
}

const KINDS = ['lock', 'once', 'semaphore', 'concurrency'] as const
const MAX_HOLDERS = 100

export const locks: Command = {
  name: 'locks',
  usage: '[NAME...]',
  takes: [0, Infinity],
  summary: 'Show who holds locks and permits, since when, and how many wait.',
  notes: [
    'With names it reads these and sends no SCAN. Without names it looks for all. The parts of a compound name are separated by a colon.',
  ],
  options: SCAN_OPTIONS,
  redis: 'scan',
  permissions: ['dbsize', 'hmget', 'scan', 'time', 'zcount', 'zrangebyscore'],
  examples: ['turnpike locks', 'turnpike locks nightly-report'],
  run: (call) => (call.args.length > 0 ? showNamed(call) : showAll(call)),
}

async function showAll(call: CommandCall): Promise<CommandResult> {
  const target = await call.target()
  const scan = createScan(target, call.options, KINDS)
  const rows: HeldRow[] = []
  for await (const batch of scan.keys()) {
    const held = batch.filter(({ sub }) => sub === undefined)
    rows.push(...(await Promise.all(held.map(readKey))).flat())
  }
  const seen = seenOf(scan.progress)
  const result = await resultOf(target, rows)
  return {
    data: { ...(result.data as object), scan: seen.data },
    lines: [...result.lines, seen.line],
    exit: scan.progress.isComplete ? 'done' : 'incomplete',
  }
}

async function showNamed({ args, target: open }: CommandCall): Promise<CommandResult> {
  const target = await open()
  const access = await target.access('lock')
  const rows = await Promise.all(
    args.flatMap((name) => KINDS.map((kind) => readHeld(target, access, kind, name))),
  )
  return await resultOf(target, rows.flat())
}

/** Returns the hash tag of a name from the command line. @throws CommandError for an empty one */
export function lockTag(target: RedisTarget, name: string): string {
  const parts = name.split(':')
  if (parts.includes('')) throw new CommandError('usage', `'${name}' is no name of a lock.`)
  return target.keys('lock').tag(parts.length === 1 ? name : parts, target.tenant)
}

/** Reads who holds what has a name. */
export function readHeld(
  target: RedisTarget,
  access: ServerAccess,
  kind: HeldRow['kind'],
  name: string,
): Promise<HeldRow[]> {
  const tag = lockTag(target, name)
  return read(access, kind, tag, target.keys('lock').key(kind, tag))
}

const readKey = ({ access, feature, key, tag }: ScannedKey): Promise<HeldRow[]> =>
  read(access, feature as HeldRow['kind'], tag, key)

async function read(
  access: ServerAccess,
  kind: HeldRow['kind'],
  name: string,
  key: string,
): Promise<HeldRow[]> {
  const now = await serverTime(access)
  const waiting = Number(await orNull(access.send('ZCOUNT', `${key}:alive`, `(${now}`, '+inf')))
  if (kind === 'lock' || kind === 'once') {
    const fields = await orNull(access.send('HMGET', key, 'owner', 'token', 'since', 'until'))
    const [owner, token, since, until] = (fields ?? []) as (string | null)[]
    if (!owner || Number(until) <= now) return []
    const times = {
      since: Number(since),
      until: Number(until),
      token: Number(token),
      permit: undefined,
    }
    return [{ kind, name, ...processOf(owner), ...times, waiting }]
  }
  const reply = await orNull(
    access.send('ZRANGEBYSCORE', key, `(${now}`, '+inf', 'WITHSCORES', 'LIMIT', 0, MAX_HOLDERS),
  )
  const live = ((reply ?? []) as unknown[]).flat().map(String)
  const owners = live.filter((_, i) => i % 2 === 0)
  if (owners.length === 0) return []
  const since = (await orNull(access.send('HMGET', `${key}:since`, ...owners))) as
    | (string | null)[]
    | null
  return owners.map((owner, i) => ({
    kind,
    name,
    ...processOf(owner),
    token: undefined,
    permit: permitOf(owner),
    owner,
    since: Number(since?.[i] ?? 0),
    until: Number(live[i * 2 + 1]),
    waiting,
  }))
}

/** Returns the ID of the permit that an owner holds: what follows its process. */
const permitOf = (owner: string): string => /[\w.-]{1,40}$/.exec(owner)?.[0] ?? '?'

async function resultOf(target: RedisTarget, rows: readonly HeldRow[]): Promise<CommandResult> {
  const now = await serverTime(await target.access('lock'))
  const held = rows.toSorted(
    (a, b) => a.since - b.since || compareNames(a.kind, b.kind) || compareNames(a.name, b.name),
  )
  return {
    data: { now, held: held.map(({ owner: _owner, ...row }) => row) },
    lines:
      held.length === 0
        ? ['Nothing is held.']
        : tableLines([
            ['kind', 'name', 'holder', 'held for', 'lease ends in', 'waiting', 'token', 'permit'],
            ...held.map((row) => [
              row.kind,
              row.name,
              `${row.host}/${row.pid}`,
              formatSpan(now - row.since),
              formatSpan(row.until - now),
              row.waiting,
              row.token ?? '-',
              row.permit ?? '-',
            ]),
          ]),
  }
}
