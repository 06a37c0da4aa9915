/** Scores with more digits than a number holds exactly, as scripts take and reply them. */

/** Lower digits of a score that are part of its member. */
export const LOWER_DIGITS = 15
/** Scores have up to this many digits. */
const MAX_DIGITS = 29
export const MAX_LARGE_SCORE: bigint = 10n ** BigInt(MAX_DIGITS) - 1n

const UNIT = 10n ** BigInt(LOWER_DIGITS)

/** Returns a score as high and low: high * 10^15 + low, with low from 0. */
export function partsOf(score: bigint): [high: string, low: string] {
  const low = ((score % UNIT) + UNIT) % UNIT
  return [String((score - low) / UNIT), String(low).padStart(LOWER_DIGITS, '0')]
}

/** Returns the score of 'high:low'. */
export function scoreFrom(parts: string): bigint {
  const [high = '0', low = '0'] = parts.split(':')
  return BigInt(high) * UNIT + BigInt(low)
}

/** Returns a score that a caller gives, undefined for what is none. */
export function largeScoreOf(value: unknown): bigint | undefined {
  const isGiven =
    typeof value === 'bigint' ||
    Number.isSafeInteger(value) ||
    (typeof value === 'string' && /^-?\d{1,29}$/.test(value))
  if (!isGiven) return undefined
  const score = BigInt(value as bigint | number | string)
  return score <= MAX_LARGE_SCORE && score >= -MAX_LARGE_SCORE ? score : undefined
}
