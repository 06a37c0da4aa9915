/** Looks for other prefixes where there is nothing under the one that was asked for. */
import { newProgress, scanNode } from '../operations/scan-keys.ts'
import { startOfKey } from '../store/keys.ts'
import type { RedisTarget } from './target.ts'

const MAX_KEYS = 5000
const MAX_MS = 2000
const MAX_SHOWN = 10

/** Returns true if there is a key of the target. Otherwise reports which prefixes there are. Sends SCAN. */
export async function reportOtherPrefixes(
  target: RedisTarget,
  warn: (message: string) => void,
): Promise<boolean> {
  const found = new Map<string, number>()
  for (const { access } of await target.servers()) {
    for (const node of access.nodes()) {
      const bounds = { pattern: '*{*', maxMatches: MAX_KEYS, maxMs: MAX_MS }
      for await (const batch of scanNode(node, bounds, newProgress())) {
        for (const key of batch) {
          if (key.startsWith(`${target.start}:`)) return true
          const start = startOfKey(key)
          if (start !== undefined) found.set(start, (found.get(start) ?? 0) + 1)
        }
      }
    }
  }
  const names = [...found].toSorted(([, a], [, b]) => b - a).slice(0, MAX_SHOWN)
  warn(
    names.length === 0
      ? `There is no key of turnpike under the prefix ${target.start}, nor under another one.`
      : `There is no key of turnpike under the prefix ${target.start}. Found: ${names.map(([name]) => name).join(', ')}. Pass one: ${optionsFor(names[0]![0])}.`,
  )
  return false
}

/** Returns the options that lead to a prefix. */
function optionsFor(start: string): string {
  const [prefix, version] = start.split('~')
  return version === undefined
    ? `--prefix ${prefix}`
    : `--prefix ${prefix} --key-version ${version}`
}
