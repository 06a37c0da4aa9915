/** `turnpike sessions`: the sessions of a user. */
import { readFileSync } from 'node:fs'
import {
  handleOf,
  inspectSession,
  keysAt,
  userTag,
  type InspectedSession,
  type SessionKeys,
} from '../features/session/inspection.ts'
import { CommandError, type Command, type CommandCall, type CommandResult } from './command.ts'
import { createScan, orNull, SCAN_OPTIONS, seenOf, serverTime } from './find-keys.ts'
import { formatSpan, formatTime } from './format.ts'
import { tableLines } from './output.ts'
import type { RedisTarget } from './target.ts'

/** Options that lead to the sessions of a user. */
export const SECRET_OPTIONS = {
  'secret-env': {
    type: 'string',
    value: 'NAME',
    help: 'Variable of the environment with the secret of tp.session().',
  },
  'secret-file': { type: 'string', value: 'FILE', help: 'File with the secret of tp.session().' },
} as const

interface SessionRow {
  readonly handle: string
  readonly user: string
  readonly created: number
  readonly lastSeen: number
  readonly expires: number | undefined
  readonly ip: string | undefined
  readonly userAgent: string | undefined
}

export const sessions: Command = {
  name: 'sessions',
  usage: 'USER',
  takes: [1, 1],
  summary: 'List the sessions of a user.',
  notes: [
    'Keys do not tell whose session it is. The secret of tp.session() leads to them: by --app, --secret-env or --secret-file. It is used on this machine only.',
    'Without the secret, --scan looks at all sessions and says which share it has seen. It cannot see users of encrypted sessions.',
  ],
  options: {
    ...SECRET_OPTIONS,
    scan: { type: 'boolean', help: 'Look at all sessions.' },
    ...SCAN_OPTIONS,
  },
  redis: 'scan',
  permissions: ['dbsize', 'get', 'mget', 'pttl', 'scan', 'time', 'zrangebyscore'],
  examples: [
    'turnpike sessions ada --secret-env SESSION_SECRET',
    'turnpike sessions ada --app ./tp.mjs',
  ],
  async run(call) {
    const [user = ''] = call.args
    const target = await call.target()
    if (call.options['scan'] === true) return await scanSessions(target, user, call)
    const rows =
      target.hasApp && secretOf(call) === undefined
        ? await listByInstance(target, user)
        : await listBySecret(target, user, requireSecret(call))
    return resultOf(rows, await serverTime(await target.access('session')))
  },
}

/** Returns the secret that the options name. @throws CommandError if it cannot be read */
export function secretOf({ env, options }: CommandCall): string | undefined {
  const [name, file] = [options['secret-env'], options['secret-file']] as (string | undefined)[]
  if (name !== undefined) {
    const value = env[name]
    if (!value) throw new CommandError('usage', `--secret-env: the variable ${name} is not set.`)
    return value
  }
  if (file === undefined) return undefined
  try {
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '')
  } catch {
    throw new CommandError('usage', `--secret-file: ${file} cannot be read.`)
  }
}

/** @throws CommandError if no option names a secret */
export function requireSecret(call: CommandCall): string {
  const secret = secretOf(call)
  if (secret !== undefined) return secret
  throw new CommandError(
    'usage',
    'The secret of tp.session() leads to the sessions of a user. Pass --secret-env NAME, --secret-file FILE or --app FILE, or look at all sessions with --scan.',
  )
}

async function listByInstance(target: RedisTarget, user: string): Promise<SessionRow[]> {
  const { tenant } = target
  const tp = target.instance()
  // The module of the application has only just created it.
  await tp.ready('5s')
  const list = await tp.sessions.list(user, tenant === undefined ? {} : { tenant })
  return list.map(({ created, expires, handle, ip, lastSeen, user, userAgent }) => ({
    handle,
    user,
    created: created.getTime(),
    lastSeen: lastSeen.getTime(),
    expires: expires.getTime(),
    ip,
    userAgent,
  }))
}

async function listBySecret(
  target: RedisTarget,
  user: string,
  secret: string,
): Promise<SessionRow[]> {
  const keys = target.keys('session')
  const tag = userTag(user, secret)
  const { index, revokeBefore } = keysAt(keys, tag, '', '', target.tenant)
  const access = await target.access('session')
  const now = await serverTime(access)
  const members = (
    (await access.send('ZRANGEBYSCORE', index, `(${now}`, '+inf', 'WITHSCORES')) as unknown[]
  )
    .flat()
    .map(String)
  if (members.length === 0) return []
  const entries: { keys: SessionKeys; expires: number }[] = []
  for (let i = 0; i + 1 < members.length; i += 2)
    entries.push({
      keys: keysAt(keys, tag, members[i]!, '', target.tenant),
      expires: Number(members[i + 1]),
    })
  const [revoked, ...texts] = (await access.send(
    'MGET',
    revokeBefore,
    ...entries.map(({ keys }) => keys.session),
  )) as (string | null)[]
  return entries.flatMap(({ keys, expires }, i) => {
    const text = texts[i]
    const found = text == null ? undefined : inspectSession(text, keys.digest, revoked ?? null)
    return found ? [rowOf(keys, { ...found, user: found.user ?? user }, expires)] : []
  })
}

const rowOf = (
  keys: SessionKeys,
  { created, ip, lastSeen, user = '', userAgent }: InspectedSession,
  expires: number | undefined,
): SessionRow => ({ handle: handleOf(keys), user, created, lastSeen, expires, ip, userAgent })

async function scanSessions(
  target: RedisTarget,
  user: string,
  { options }: CommandCall,
): Promise<CommandResult> {
  const scan = createScan(target, options, ['session'])
  const space = target.keys('session')
  const access = await target.access('session')
  const now = await serverTime(access)
  const rows: SessionRow[] = []
  let hidden = 0
  for await (const batch of scan.keys()) {
    const all = batch.flatMap(({ key, sub = '', tag }) => {
      const [tenant, own] = tag.includes('=') ? tag.split('=', 2) : [undefined, tag]
      if (own === undefined || !/^[\w-]{22}$/.test(sub)) return []
      if (target.tenant !== undefined && space.tenantPart(target.tenant) !== tenant) return []
      return [{ key, keys: keysAt(space, own, sub, '', target.tenant) }]
    })
    const read = await Promise.all(
      all.map(async ({ key, keys }) => {
        const text = (await orNull(access.send('GET', key))) as string | null
        const first = text === null ? undefined : inspectSession(text, keys.digest, null)
        if (first?.isEncrypted && first.isOwned) hidden++
        if (first?.user !== user) return []
        const revoked = (await access.send('GET', keys.revokeBefore)) as string | null
        const found = inspectSession(text!, keys.digest, revoked)
        const left = Number(await access.send('PTTL', key))
        return found && left > 0 ? [rowOf(keys, found, now + left)] : []
      }),
    )
    rows.push(...read.flat())
  }
  const seen = seenOf(scan.progress)
  const result = resultOf(rows, now)
  const note = `${hidden} encrypted sessions of users were seen. Whose they are only the secret tells.`
  return {
    data: { ...(result.data as object), encrypted: hidden, scan: seen.data },
    lines: [...result.lines, ...(hidden > 0 ? [note] : []), seen.line],
    exit: scan.progress.isComplete ? (result.exit ?? 'done') : 'incomplete',
  }
}

function resultOf(rows: readonly SessionRow[], now: number): CommandResult {
  return {
    data: { now, sessions: rows },
    lines:
      rows.length === 0
        ? ['There is no session.']
        : tableLines([
            ['handle', 'since', 'last seen', 'ends in', 'address', 'user agent'],
            ...rows.map((row) => [
              row.handle,
              formatTime(row.created),
              `${formatSpan(now - row.lastSeen)} ago`,
              row.expires === undefined ? '?' : formatSpan(row.expires - now),
              row.ip ?? '-',
              (row.userAgent ?? '-').slice(0, 80),
            ]),
          ]),
    ...(rows.length === 0 && { exit: 'finding' as const }),
  }
}
