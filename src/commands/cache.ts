/** `turnpike cache`: what is cached, and why it is or is not served. */
import {
  inspectEntry,
  keysOfUrl,
  logFieldsOf,
  usabilityOf,
  type InspectedEntry,
} from '../features/cache/inspection.ts'
import { parseInfo } from '../store/info.ts'
import type { ServerAccess } from '../store/server-access.ts'
import {
  CommandError,
  type Command,
  type CommandCall,
  type CommandResult,
  type OutputLine,
} from './command.ts'
import { createScan, SCAN_OPTIONS, seenOf, serverTime } from './find-keys.ts'
import { formatBytes, formatShare, formatSpan, formatTime } from './format.ts'
import { tableLines } from './output.ts'
import type { RedisTarget } from './target.ts'

/** Returns a URL that an argument gives. @throws CommandError */
export function urlArgument(given: string): URL {
  if (/^https?:\/\/./i.test(given) && URL.canParse(given)) return new URL(given)
  throw new CommandError(
    'usage',
    `The URL must be whole, like https://shop.example/products/1, because scheme and host are part of the key. It is '${given}'.`,
  )
}

/** A response as `ls` and `show` print it. */
type ShownEntry = Omit<InspectedEntry, 'entry'> & { readonly state: string }

/** Fields whose values are secrets of the one client that they were for. No output has them. */
const SECRET_FIELDS = /^(set-cookie|authorization|www-authenticate)$/i

async function judge(
  access: ServerAccess,
  { entry, ...rest }: InspectedEntry,
  log: string,
  now: number,
): Promise<ShownEntry> {
  const values = (await access.send('HMGET', log, ...logFieldsOf(entry))) as (string | null)[]
  const fields = rest.fields.map(
    ([name, value]) => [name, SECRET_FIELDS.test(name) ? '(hidden)' : value] as const,
  )
  return { ...rest, fields, state: usabilityOf(entry, values, now) }
}

/** Values that are larger are not fetched for a list. */
const MAX_LISTED_BYTES = 2 ** 20

export const cacheLs: Command = {
  name: 'cache ls',
  usage: '[PATTERN]',
  takes: [0, 1],
  summary: 'List cached responses, with their state.',
  notes: ['In the pattern `*` stands for any characters. It is compared with paths and own keys.'],
  options: SCAN_OPTIONS,
  redis: 'scan',
  permissions: ['dbsize', 'get', 'hmget', 'scan', 'strlen', 'time'],
  examples: ["turnpike cache ls '/products/*'"],
  async run(call) {
    const target = await call.target()
    const access = await target.access('cache')
    const now = await serverTime(access)
    const scan = createScan(target, call.options, ['cache'])
    const pattern = call.args[0]
    const found: (ShownEntry & { key: string })[] = []
    for await (const batch of scan.keys()) {
      const entries = batch.filter(({ sub = '' }) => !/:(lease|ages)$/.test(sub))
      const read = await Promise.all(
        entries.map(async ({ access, key, tag }) => {
          const entry = await fetchEntry(access, key)
          if (!entry || 'vary' in entry || (pattern !== undefined && !matches(pattern, entry.name)))
            return undefined
          const owner = tag.includes('=') ? tag.split('=', 1)[0]! : undefined
          return { key, ...(await judge(access, entry, logKey(target, owner), now)) }
        }),
      )
      for (const each of read) if (each) found.push(each)
    }
    const seen = seenOf(scan.progress)
    const sorted = found.toSorted((a, b) => (a.name < b.name ? -1 : 1))
    return {
      data: { now, entries: sorted, scan: seen.data },
      lines: [...listLines(sorted, now), seen.line],
      exit: scan.progress.isComplete ? 'done' : 'incomplete',
    }
  },
}

/** Returns the key of the invalidation log. @param owner a tenant as tags contain it */
function logKey(target: RedisTarget, owner: string | undefined): string {
  const keys = target.keys('cache')
  const tag = keys.tag('log')
  return keys.key('inv', owner === undefined ? tag : `${owner}=${tag}`)
}

async function fetchEntry(
  access: ServerAccess,
  key: string,
): Promise<ReturnType<typeof inspectEntry>> {
  try {
    if (Number(await access.send('STRLEN', key)) > MAX_LISTED_BYTES) return undefined
    const bytes = (await access.sendForBytes('GET', key)) as Buffer | null
    return bytes === null ? undefined : inspectEntry(bytes)
  } catch (error) {
    if (/WRONGTYPE/.test((error as Error).message)) return undefined
    throw error
  }
}

/** Returns true if a pattern matches a name. */
function matches(pattern: string, name: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${parts.join('.*')}$`, 's').test(name)
}

const listLines = (entries: readonly ShownEntry[], now: number): OutputLine[] =>
  entries.length === 0
    ? ['There is no cached response.']
    : tableLines([
        ['name', 'status', 'state', 'age', 'fresh for', 'size', 'made in'],
        ...entries.map((each) => [
          each.name.slice(0, 100),
          each.status,
          each.state,
          formatSpan(now - each.storedAt),
          each.freshUntil > now ? formatSpan(each.freshUntil - now) : '-',
          formatBytes(each.storedLength),
          formatSpan(each.cost),
        ]),
      ])

export const cacheShow: Command = {
  name: 'cache show',
  usage: 'URL',
  takes: [1, 1],
  summary: 'Show whether the response to a URL is cached, and in what state it is.',
  notes: [
    'It looks where a mount of tp.cache() without key, scope and rules for queries stores the response. `turnpike cache ls` finds the others.',
  ],
  redis: 'read',
  permissions: ['get', 'hmget', 'strlen', 'time', 'zrange'],
  examples: ['turnpike cache show https://shop.example/products/1'],
  async run(call) {
    const url = urlArgument(call.args[0] ?? '')
    const target = await call.target()
    const access = await target.access('cache')
    const now = await serverTime(access)
    const { entry: key, log } = keysOfUrl(target.keys('cache'), url, target.tenant)
    const found = await fetchEntry(access, key)
    if (found === undefined)
      return {
        data: { now, key, entry: null },
        lines: [
          'There is no response under this URL. `turnpike explain` and the event `cache` say why one is not stored.',
        ],
        exit: 'finding',
      }
    if (!('vary' in found)) {
      const entry = await judge(access, found, log, now)
      return { data: { now, key, entry }, lines: entryLines(entry, now) }
    }
    const { vary } = found
    const variants = await readVariants(access, key, log, now)
    return {
      data: { now, key, vary, variants },
      lines: [`The response varies by ${vary.join(', ')}.`, ...listLines(variants, now)],
    }
  },
}

const MAX_VARIANTS = 100

async function readVariants(
  access: ServerAccess,
  key: string,
  log: string,
  now: number,
): Promise<ShownEntry[]> {
  const suffixes = (await access.send('ZRANGE', `${key}:ages`, 0, MAX_VARIANTS - 1)) as string[]
  const read = await Promise.all(
    suffixes.map(async (suffix) => {
      const entry = await fetchEntry(access, `${key}${suffix}`)
      return entry && !('vary' in entry) ? [await judge(access, entry, log, now)] : []
    }),
  )
  return read.flat()
}

function entryLines(entry: ShownEntry, now: number): OutputLine[] {
  const { cost, fields, freshUntil, length, name, staleUntil, state, status, storedAt, tags } =
    entry
  return [
    `${name}: ${status}, ${state}`,
    `stored    ${formatTime(storedAt)}, ${formatSpan(now - storedAt)} ago; made in ${formatSpan(cost)}`,
    `fresh     until ${formatTime(freshUntil)}; stale until ${formatTime(staleUntil)}`,
    `size      ${formatBytes(length)}`,
    `tags      ${
      tags
        .filter((tag) => tag.startsWith('t:'))
        .map((tag) => tag.slice(2))
        .join(', ') || '-'
    }`,
    ...fields.map(
      ([field, value]) => `field     ${field}: ${[value].flat().join(', ').slice(0, 200)}`,
    ),
  ]
}

export const cacheStats: Command = {
  name: 'cache stats',
  usage: '',
  takes: [0, 0],
  summary: 'Show how many responses are cached, their memory, and the hit rate of the server.',
  options: SCAN_OPTIONS,
  redis: 'scan',
  permissions: ['dbsize', 'memory|usage', 'scan'],
  run: showStats,
}

async function showStats(call: CommandCall): Promise<CommandResult> {
  const target = await call.target()
  const scan = createScan(target, call.options, ['cache', 'data'])
  const counts = { responses: 0, values: 0, leases: 0, measured: 0, bytes: 0 }
  for await (const batch of scan.keys()) {
    for (const { feature, key, node, sub = '' } of batch) {
      if (sub.endsWith(':lease')) counts.leases++
      else if (feature === 'data') counts.values++
      else if (!sub.endsWith(':ages')) counts.responses++
      if (counts.measured >= 100) continue
      counts.measured++
      counts.bytes += Number((await node.send('MEMORY', 'USAGE', key)) ?? 0)
    }
  }
  let hits = 0
  let misses = 0
  for (const node of (await target.access('cache')).nodes()) {
    const info = parseInfo(String(await node.send('INFO', 'stats')))
    hits += Number(info['keyspace_hits'] ?? 0)
    misses += Number(info['keyspace_misses'] ?? 0)
  }
  const keys = counts.responses + counts.values + counts.leases
  const bytes = Math.round((counts.bytes / Math.max(1, counts.measured)) * keys)
  const hitRate = hits + misses === 0 ? undefined : hits / (hits + misses)
  const seen = seenOf(scan.progress)
  const { leases, responses, values } = counts
  return {
    data: {
      responses,
      values,
      leases,
      estimatedBytes: bytes,
      serverHitRate: hitRate,
      scan: seen.data,
    },
    lines: [
      `${responses} responses, ${values} values of tp.data(), ${leases} being filled`,
      `~${formatBytes(bytes)}`,
      `hit rate of all reads of the server: ${hitRate === undefined ? '-' : formatShare(hitRate)}`,
      seen.line,
    ],
    exit: scan.progress.isComplete ? 'done' : 'incomplete',
  }
}
