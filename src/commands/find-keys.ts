/** Finds keys of the application by scanning, for commands that have no other way. */
import { newProgress, scanNode, shareOf, type ScanProgress } from '../operations/scan-keys.ts'
import { AREA_BY_FEATURE, parseKey, type KeyParts } from '../store/keys.ts'
import type { ServerAccess, ServerNode } from '../store/server-access.ts'
import { CommandError, type CommandCall, type CommandOption, type OutputLine } from './command.ts'
import { formatShare } from './format.ts'
import type { RedisTarget } from './target.ts'

/** Options of commands that scan. */
export const SCAN_OPTIONS: Readonly<Record<string, CommandOption>> = {
  limit: {
    type: 'string',
    value: 'COUNT',
    help: 'Ends the scan after so many matches. Default: 1000.',
  },
  seconds: {
    type: 'string',
    value: 'COUNT',
    help: 'Ends the scan of a server after so many seconds. Default: 10.',
  },
}

/** A key that was found. */
export interface ScannedKey extends KeyParts {
  readonly key: string
  readonly access: ServerAccess
  readonly node: ServerNode
}

/** A scan with its bounds. */
export interface KeyScan {
  readonly progress: ScanProgress
  keys(): AsyncGenerator<ScannedKey[]>
}

/** Returns a positive integer that an option gives. @throws CommandError */
export function countOption(
  options: CommandCall['options'],
  name: string,
  fallback: number,
  most = 1e6,
): number {
  const value = Number(options[name] ?? fallback)
  if (Number.isInteger(value) && value >= 1 && value <= most) return value
  throw new CommandError(
    'usage',
    `--${name} must be an integer from 1 to ${most}. It is '${String(options[name])}'.`,
  )
}

/** Creates a scan over the keys of some features, by default of all. */
export function createScan(
  target: RedisTarget,
  options: CommandCall['options'],
  features?: readonly string[],
): KeyScan {
  const progress = newProgress()
  const maxMatches = countOption(options, 'limit', 1000)
  const maxMs = countOption(options, 'seconds', 10, 3600) * 1000
  const { start } = target
  async function* keys(): AsyncGenerator<ScannedKey[]> {
    const only = features?.length === 1 ? `${features[0]}:{*` : '*'
    const areas = new Set(features?.map((feature) => AREA_BY_FEATURE[feature]))
    for (const server of await target.servers()) {
      if (features && !server.areas.some((area) => areas.has(area))) continue
      for (const node of server.access.nodes()) {
        const bounds = { pattern: `${start}:${only}`, maxMatches, maxMs }
        for await (const batch of scanNode(node, bounds, progress)) {
          const found = batch.flatMap((key): ScannedKey[] => {
            const parts = parseKey(key, start)
            if (!parts || (features && !features.includes(parts.feature))) return []
            return [{ ...parts, key, access: server.access, node }]
          })
          if (found.length > 0) yield found
        }
      }
    }
  }
  return { progress, keys }
}

/** Returns what a scan has seen, as data and as a line. */
export function seenOf(progress: ScanProgress): { data: object; line: OutputLine } {
  const { isComplete, total } = progress
  const share = shareOf(progress)
  return {
    data: { isComplete, share, databaseSize: total },
    line: {
      text: isComplete
        ? `All ${total} keys of the database were seen.`
        : `${formatShare(share)} of the ${total} keys of the database were seen. --limit and --seconds raise the bounds.`,
      tone: 'faint',
    },
  }
}

/** Returns null for a key of another type: another program has written it. */
export async function orNull<Value>(reply: Promise<Value>): Promise<Value | null> {
  try {
    return await reply
  } catch (error) {
    if (/WRONGTYPE/.test((error as Error).message)) return null
    throw error
  }
}

/** Returns Redis's clock, in ms since the epoch. */
export async function serverTime(access: ServerAccess): Promise<number> {
  const [seconds, micros] = (await access.send('TIME')) as [string | number, string | number]
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000)
}
