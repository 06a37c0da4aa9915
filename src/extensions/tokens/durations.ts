/** Durations as scripts can keep them. */
import { durationOption } from '../../duration.ts'
import { optionError } from '../../validate.ts'

/** Ten years: later times do not fit into the 13 digits that scripts write them with. */
const MAX_MS = 3652 * 86_400_000

/**
 * Returns an option's duration in whole milliseconds.
 * @throws TP_OPTION if it is none, shorter than `min` milliseconds (default 1), or longer than ten years
 */
export function storedDuration(value: unknown, where: string, option: string, min = 1): number {
  const ms = Math.ceil(durationOption(value, where, option, min))
  if (ms <= MAX_MS) return ms
  throw optionError(where, option, value, 'at most ten years')
}
