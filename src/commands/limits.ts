/** `turnpike limits`: who is limited, and what is left to a subject. */
import {
  normalizeAddress,
  policyAt,
  policyState,
  type InspectedLimit,
  type ReportedPolicy,
} from '../features/rate-limit/inspection.ts'
import type { PolicyChange } from '../control/active-rules.ts'
import { fieldPart } from '../operations/beat-keys.ts'
import { readProcesses, readRefused, type ReportedRefusals } from '../operations/processes.ts'
import { CommandError, type Command, type OutputLine } from './command.ts'
import { orNull } from './find-keys.ts'
import { formatSpan } from './format.ts'
import { tableLines } from './output.ts'
import { readApplication, reportSource, type ReportedLimit } from './reports.ts'
import { policyPath, readPolicyChanges } from './stored-rules.ts'
import type { RedisTarget } from './target.ts'

/** One policy for one subject. */
export interface LimitRow {
  readonly limit: string
  readonly policy: string
  /** The subject, as the content of a key's hash tag. */
  readonly subject: string
  /** Undefined if it cannot be computed: limit or window depend on the request. */
  readonly state: InspectedLimit | undefined
  /** Key of the state, and whether there is one. */
  readonly key: string
  readonly isStored: boolean
  readonly version: string | undefined
  /** True if the key holds another type: Redis refuses each request of the subject. */
  readonly hasOtherType?: boolean
  /** Refusals in this hour and the one before, where they were asked for. */
  readonly refusals?: number
}

const NO_REPORTS =
  'No process of the application reports under this prefix, so its limits are not known. A process reports after ten seconds, unless operations is false. `turnpike keys` shows what there is.'

/** Reads the policies that processes report. @throws CommandError if none does */
async function readLimits(target: RedisTarget): Promise<{
  limits: readonly ReportedLimit[]
  refused: () => Promise<ReportedRefusals[]>
  now: () => number
}> {
  const source = await reportSource(target)
  const { limits: mounted } = await readApplication(source, await readProcesses(source))
  if (mounted.length === 0) throw new CommandError('finding', NO_REPORTS)
  const changes = await readPolicyChanges(target)
  const limits = mounted.map((limit) => limitInForce(limit, changes))
  return { limits, refused: () => readRefused(source), now: () => source.store.now() }
}

/** Returns a limit as `tp.control.policy()` has changed its policies. */
function limitInForce(
  limit: ReportedLimit,
  changes: ReadonlyMap<string, PolicyChange>,
): ReportedLimit {
  // A login guard cannot be changed, and a policy without a limit is not counted.
  if (limit.kind === 'loginGuard' || changes.size === 0) return limit
  const policies = limit.policies.map((policy): ReportedPolicy => {
    const change = changes.get(policyPath(limit.name, policy.name))
    if (change === undefined || policy.limit === Infinity) return policy
    const hasCalendar = policy.isMonth || policy.timeZone !== undefined
    return {
      ...policy,
      limit: change.limit ?? policy.limit,
      window: hasCalendar ? policy.window : (change.window ?? policy.window),
      burst: policy.algorithm === 'gcra' ? (change.burst ?? policy.burst) : policy.burst,
    }
  })
  return { ...limit, policies }
}

/** Returns the key of a policy's state for a subject. */
function stateKey(
  target: RedisTarget,
  { kind, version }: ReportedLimit,
  { keySuffix }: ReportedPolicy,
  tag: string,
): string {
  // The login guard counts an address for all identities under `all`, and a pair under a digest.
  const suffix = kind === 'loginGuard' ? `${keySuffix}:all` : keySuffix
  return target.keys('rateLimit', version).key('limit', tag, suffix)
}

/** Returns the policies that can refuse a subject, and the keys of its states. */
export async function readBlockable(
  target: RedisTarget,
  tag: string,
): Promise<{ limit: string; policy: ReportedPolicy; key: string; version: string | undefined }[]> {
  const { limits } = await readLimits(target)
  return limits.flatMap((limit) =>
    limit.policies
      .filter((policy) => isReadable(limit, policy) && policy.limit !== Infinity)
      .map((policy) => ({
        limit: limit.name,
        policy,
        key: stateKey(target, limit, policy, tag),
        version: limit.version,
      })),
  )
}

/** Where the overrides of a subject are, and which policies they can name. */
export interface OverridePlace {
  readonly version: string | undefined
  readonly key: string
  readonly policies: readonly string[]
}

/** Returns where the limits that read overrides find those of a subject. One place for each version. */
export async function readOverridePlaces(
  target: RedisTarget,
  tag: string,
): Promise<OverridePlace[]> {
  const { limits } = await readLimits(target)
  const places = new Map<string | undefined, Set<string>>()
  for (const { overrides, policies, version } of limits) {
    if (!overrides) continue
    const names = places.get(version) ?? new Set<string>()
    places.set(version, names)
    for (const { name } of policies) names.add(name)
  }
  return [...places].map(([version, names]) => ({
    version,
    key: target.keys('rateLimit', version).key('limits', tag),
    policies: [...names],
  }))
}

/** Reads the state of a policy for a subject. */
async function readRow(
  target: RedisTarget,
  limit: ReportedLimit,
  policy: ReportedPolicy,
  tag: string,
  now: number,
): Promise<LimitRow> {
  const { kind, name, version } = limit
  const keys = target.keys('rateLimit', version)
  const access = await target.access('rateLimit')
  const key = stateKey(target, limit, policy, tag)
  let hasOtherType = false
  const [value, overrides] = await Promise.all([
    access.sendForBytes('GET', key).catch((error: Error) => {
      hasOtherType = error.message.startsWith('WRONGTYPE')
      if (!hasOtherType) throw error
      return null
    }) as Promise<Buffer | null>,
    kind === 'loginGuard' ? [] : orNull(access.send('HGETALL', keys.key('limits', tag))),
  ])
  const known = policyAt(policy, now)
  const pairs = Array.isArray(overrides) ? overrides.flat().map(String) : []
  const row = { limit: name, policy: policy.name, subject: tag, key, version }
  if (hasOtherType) return { ...row, state: undefined, isStored: true, hasOtherType }
  const state = known && policyState(known, value, pairs, now)
  return { ...row, state, isStored: value !== null }
}

const isReadable = ({ kind }: ReportedLimit, { name }: ReportedPolicy): boolean =>
  kind !== 'loginGuard' || name === 'address'

/** Returns the rows of all limits for a subject. */
export async function readSubject(target: RedisTarget, tag: string): Promise<LimitRow[]> {
  const { limits, now } = await readLimits(target)
  return await Promise.all(
    limits.flatMap((limit) =>
      limit.policies
        .filter((policy) => isReadable(limit, policy))
        .map((policy) => readRow(target, limit, policy, tag, now())),
    ),
  )
}

/** Returns the hash tag of a subject from the command line: several parts are a compound subject. */
export function subjectTagOf(target: RedisTarget, parts: readonly string[]): string {
  if (parts.includes('')) throw new CommandError('usage', 'The subject is empty.')
  const normal = parts.map((part) => normalizeAddress(part) ?? part)
  return target.keys('rateLimit').tag(normal.length === 1 ? normal[0]! : normal, target.tenant)
}

const PERMISSIONS = ['get', 'hgetall', 'hscan', 'time', 'zrange']

export const limits: Command = {
  name: 'limits',
  usage: '',
  takes: [0, 0],
  summary: 'Show who was refused most in this hour and the one before, and who is limited now.',
  notes: [
    'It reads what the processes report, and then exactly the states of these subjects. It sends no SCAN.',
  ],
  redis: 'read',
  permissions: PERMISSIONS,
  examples: ['turnpike limits'],
  async run(call) {
    const target = await call.target()
    const { limits, now, refused } = await readLimits(target)
    const rows = await Promise.all(
      (await refused()).map(async (each): Promise<LimitRow> => {
        const { count, limit, policy, tag } = each
        const found = limits.find(({ name }) => fieldPart(name) === limit)
        const own = found?.policies.find(({ name }) => fieldPart(name) === policy)
        const isKnown = found !== undefined && own !== undefined && isReadable(found, own)
        const row = isKnown
          ? await readRow(target, found, own, tag, now())
          : {
              limit,
              policy,
              subject: tag,
              state: undefined,
              key: '',
              isStored: true,
              version: undefined,
            }
        return { ...row, refusals: count }
      }),
    )
    return {
      data: { now: now(), limits: rows },
      lines: rows.length === 0 ? ['No subject was refused.'] : rowLines(rows),
    }
  },
}

export const limitsShow: Command = {
  name: 'limits show',
  usage: 'SUBJECT...',
  takes: [1, 16],
  summary: 'Show what every limit leaves to a subject: an address, or what `key` returned.',
  notes: [
    'The states are read, and computed as the middleware would. Nothing is counted. Several arguments are the parts of one subject.',
  ],
  redis: 'read',
  permissions: PERMISSIONS,
  examples: ['turnpike limits show 203.0.113.7', 'turnpike limits show acme user-1'],
  async run(call) {
    const target = await call.target()
    const rows = await readSubject(target, subjectTagOf(target, call.args))
    return { data: { limits: rows }, lines: rowLines(rows) }
  },
}

const OTHER_TYPE =
  'every request fails: the key holds another type. `turnpike limits reset` deletes it'

function rowLines(rows: readonly LimitRow[]): OutputLine[] {
  const hasRefusals = rows.some(({ refusals }) => refusals !== undefined)
  return tableLines([
    [
      'limit',
      'policy',
      'subject',
      'left',
      'reset in',
      'state',
      ...(hasRefusals ? ['refused'] : []),
    ],
    ...rows.map(({ hasOtherType = false, limit, policy, refusals, state, subject }) => [
      limit,
      policy,
      subject,
      state === undefined ? '?' : `${state.remaining}/${state.limit}`,
      state === undefined ? '?' : formatSpan(state.reset),
      hasOtherType ? OTHER_TYPE : state === undefined ? 'depends on the request' : wordFor(state),
      ...(hasRefusals ? [refusals ?? 0] : []),
    ]),
  ])
}

function wordFor({ isBlocked, isLimited, retryAfter }: InspectedLimit): string {
  if (!isLimited) return 'ok'
  const wait = retryAfter < 0 ? 'for ever' : `for ${formatSpan(retryAfter)}`
  return `${isBlocked ? 'blocked' : 'limited'} ${wait}`
}
