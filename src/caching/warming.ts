/** Fills entries before they are asked for, a few at a time. */
import { integer, type Validator } from '../validate.ts'

/** How much is filled at once. */
export interface WarmOptions {
  /** Number of entries that this process fills at once, from 1 to 100. @default 4 */
  concurrency?: number
}

export const WARM_OPTIONS: Record<string, Validator> = { concurrency: integer(1, 100) }

/**
 * Calls `fill` for each item in order, for a few at a time. It begins no other when `closing` fires.
 * @returns for how many `fill` resolved with true
 */
export async function warmEach<Item>(
  items: readonly Item[],
  { concurrency = 4 }: WarmOptions,
  closing: AbortSignal,
  fill: (item: Item) => Promise<boolean>,
): Promise<number> {
  let [next, count] = [0, 0]
  const work = async (): Promise<void> => {
    while (next < items.length && !closing.aborted) if (await fill(items[next++]!)) count++
  }
  await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, work))
  return count
}
