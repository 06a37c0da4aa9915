/** Numbers and times for a person. Pages use it, too: it imports nothing. */

const UNITS = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'm'],
  [1000, 's'],
] as const

/** Returns a time span for a person: `1h 5m`, `12s`, `340 ms`. */
export function formatSpan(ms: number): string {
  if (!Number.isFinite(ms)) return '?'
  if (Math.abs(ms) < 1000) return `${Math.round(ms)} ms`
  const i = UNITS.findIndex(([size]) => Math.abs(ms) >= size)
  const [size, unit] = UNITS[i]!
  const whole = Math.trunc(ms / size)
  const next = UNITS[i + 1]
  const rest = next ? Math.trunc(Math.abs(ms - whole * size) / next[0]) : 0
  return rest > 0 ? `${whole}${unit} ${rest}${next![1]}` : `${whole}${unit}`
}

/** Returns a number of bytes for a person. */
export function formatBytes(bytes: number): string {
  for (const [size, unit] of [
    [2 ** 30, 'GB'],
    [2 ** 20, 'MB'],
    [2 ** 10, 'KB'],
  ] as const)
    if (bytes >= size) return `${(bytes / size).toFixed(1)} ${unit}`
  return `${bytes} bytes`
}

/** Returns a part of a whole for a person. */
export const formatShare = (share: number): string =>
  `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`

/** Returns a time for a person: ISO 8601, to the second. */
export function formatTime(ms: number): string {
  const date = new Date(ms)
  return Number.isNaN(date.getTime()) ? '?' : `${date.toISOString().slice(0, 19)}Z`
}

/** Returns a count with its noun. */
export const formatCount = (count: number, noun: string, plural = `${noun}s`): string =>
  `${count} ${count === 1 ? noun : plural}`
