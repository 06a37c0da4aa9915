/** Goes over the keys of a server in bounded steps that leave it nine tenths of its time. */
import type { ServerNode } from '../store/server-access.ts'

/** What a scan has seen. */
export interface ScanProgress {
  /** Keys in the database when the scan began. */
  total: number
  /** Keys that the scan has passed, whether they matched or not. */
  seen: number
  isComplete: boolean
}

/** Bounds of a scan. */
export interface ScanBounds {
  /** Redis pattern. */
  readonly pattern: string
  /** Ends the scan after so many matches. @default 10,000 */
  readonly maxMatches?: number
  /** Ends the scan after so many ms. @default 10,000 */
  readonly maxMs?: number
}

const STEP = 250
/** A step is followed by a pause of nine times its length. */
const PAUSES = 9

/** Returns which share of the keys a scan has seen. */
export const shareOf = ({ isComplete, seen, total }: ScanProgress): number =>
  isComplete ? 1 : Math.min(0.99, seen / Math.max(1, total))

/**
 * Yields the keys that match, in batches.
 * @param progress is kept up to date. It adds up over several nodes
 */
export async function* scanNode(
  node: ServerNode,
  { pattern, maxMatches = 10_000, maxMs = 10_000 }: ScanBounds,
  progress: ScanProgress,
): AsyncGenerator<string[]> {
  const began = performance.now()
  progress.total += Number(await node.send('DBSIZE'))
  let cursor = '0'
  let matches = 0
  do {
    const start = performance.now()
    const reply = await node.send('SCAN', cursor, 'MATCH', pattern, 'COUNT', STEP)
    const took = performance.now() - start
    const [next, keys] = reply as [string, string[]]
    cursor = next
    progress.seen += STEP
    matches += keys.length
    if (keys.length > 0) yield keys
    if (cursor === '0') break
    if (matches >= maxMatches || performance.now() - began > maxMs) {
      progress.isComplete = false
      return
    }
    await new Promise((resolve) => setTimeout(resolve, Math.ceil(took * PAUSES)))
  } while (cursor !== '0')
}

export const newProgress = (): ScanProgress => ({ total: 0, seen: 0, isComplete: true })
