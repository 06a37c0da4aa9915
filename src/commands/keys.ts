/** `turnpike keys`: what takes how much space. */
import { shareOf } from '../operations/scan-keys.ts'
import { AREA_BY_FEATURE } from '../store/keys.ts'
import type { Command, OutputLine } from './command.ts'
import { createScan, SCAN_OPTIONS, seenOf, type ScannedKey } from './find-keys.ts'
import { reportOtherPrefixes } from './other-prefixes.ts'
import { formatBytes } from './format.ts'
import { compareNames, tableLines } from './output.ts'

/** Keys that belong together. */
interface KeyGroup {
  keys: number
  measured: number
  bytes: number
  readonly names: Map<string, KeyGroup>
}

const byKeys = (
  [a, { keys: x }]: [string, KeyGroup],
  [b, { keys: y }]: [string, KeyGroup],
): number => y - x || compareNames(a, b)

const newGroup = (): KeyGroup => ({ keys: 0, measured: 0, bytes: 0, names: new Map() })

/** Number of keys of a group whose size is asked for. */
const MEASURED = 50
/** Number of names that are shown for each feature. */
const MAX_NAMES = 20

export const keys: Command = {
  name: 'keys',
  usage: '',
  takes: [0, 0],
  summary: 'Count the keys of the application by feature, and estimate their memory.',
  notes: [
    'It goes over the keys in small steps, and pauses nine times as long as each took. It says which share it has seen. The size of a group is estimated from 50 of its keys.',
  ],
  options: {
    tree: { type: 'boolean', help: 'Also show limits, caches and mounts by name.' },
    ...SCAN_OPTIONS,
    limit: {
      type: 'string',
      value: 'COUNT',
      help: 'Ends the scan after so many matches. Default: 100000.',
    },
  },
  redis: 'scan',
  permissions: ['dbsize', 'memory|usage', 'scan'],
  examples: ['turnpike keys --tree --prefix shop'],
  async run(call) {
    const target = await call.target()
    const options = { ...call.options, limit: call.options['limit'] ?? '100000' }
    const scan = createScan(target, options)
    const groups = new Map<string, KeyGroup>()
    for await (const batch of scan.keys()) {
      await Promise.all(batch.map((found) => count(groups, found)))
    }
    const seen = seenOf(scan.progress)
    const share = shareOf(scan.progress)
    if (groups.size === 0 && scan.progress.isComplete) await reportOtherPrefixes(target, call.warn)
    const isTree = call.options['tree'] === true
    const sorted = [...groups].toSorted(byKeys)
    return {
      data: {
        prefix: target.start,
        ...seen.data,
        groups: sorted.map(([feature, group]) => ({
          feature,
          area: AREA_BY_FEATURE[feature] ?? feature.split(':', 1)[0],
          ...summaryOf(group, share),
          names: [...group.names].map(([name, each]) => ({ name, ...summaryOf(each, share) })),
        })),
      },
      lines: [...treeLines(sorted, share, isTree), seen.line],
      exit: groups.size === 0 ? 'finding' : scan.progress.isComplete ? 'done' : 'incomplete',
    }
  },
}

async function count(groups: Map<string, KeyGroup>, found: ScannedKey): Promise<void> {
  const { feature, key, node } = found
  const group = groups.get(feature) ?? newGroup()
  groups.set(feature, group)
  const name = nameIn(found)
  const own = name === undefined ? undefined : (group.names.get(name) ?? newGroup())
  if (name !== undefined && own && (group.names.has(name) || group.names.size < 1000))
    group.names.set(name, own)
  group.keys++
  if (own) own.keys++
  const isMeasured = group.measured < MEASURED || (own !== undefined && own.measured < MEASURED)
  if (!isMeasured) return
  group.measured++
  if (own) own.measured++
  const bytes = Number((await node.send('MEMORY', 'USAGE', key)) ?? 0)
  group.bytes += bytes
  if (own) own.bytes += bytes
}

/** Returns the name of the limit, mount or resource that a key belongs to. */
function nameIn({ feature, sub, tag }: ScannedKey): string | undefined {
  // Limiter, policy and algorithm: a dot in a name is `@` in keys.
  if (feature === 'limit') return sub?.split(':', 1)[0]?.replace(/\.\w$/, '').replaceAll('@', '.')
  if (feature === 'idempotency') return tag.replace(/^[^=]*=/, '').split(':', 1)[0]
  if (feature === 'cache' || feature === 'data') return sub?.split(/[:%]/, 3).slice(0, 2).join('/')
  return undefined
}

const summaryOf = (
  { bytes, keys, measured }: KeyGroup,
  share: number,
): { keys: number; estimatedKeys: number; estimatedBytes: number } => ({
  keys,
  estimatedKeys: Math.round(keys / share),
  estimatedBytes: Math.round((bytes / Math.max(1, measured)) * (keys / share)),
})

function treeLines(
  groups: readonly (readonly [string, KeyGroup])[],
  share: number,
  isTree: boolean,
): OutputLine[] {
  const rows: string[][] = [['feature', 'keys', 'memory']]
  const add = (label: string, group: KeyGroup): void => {
    const { estimatedBytes, estimatedKeys } = summaryOf(group, share)
    rows.push([label, String(estimatedKeys), `~${formatBytes(estimatedBytes)}`])
  }
  for (const [feature, group] of groups) {
    add(feature, group)
    if (!isTree) continue
    const names = [...group.names].toSorted(byKeys)
    for (const [name, own] of names.slice(0, MAX_NAMES)) add(`  ${name}`, own)
    if (names.length > MAX_NAMES) rows.push([`  … ${names.length - MAX_NAMES} more`, '', ''])
  }
  return groups.length === 0 ? [] : tableLines(rows)
}
