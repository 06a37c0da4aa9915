/** Seasons of leaderboards: days, weeks and months of UTC. */

export type SeasonPeriod = 'day' | 'week' | 'month'

const DAY_MS = 86_400_000

/** How long the boards of a period are kept by default, in days. */
export const SEASON_TTL_DAYS: Readonly<Record<SeasonPeriod, number>> = {
  day: 3,
  week: 21,
  month: 93,
}

/** Returns the label of a season in keys: the day that it begins on. @param ago how many seasons before the current one */
export function seasonOf(period: SeasonPeriod, now: number, ago: number): string {
  const date = new Date(now)
  const [year, month, day] = [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()]
  if (period === 'month') return labelOf(Date.UTC(year, month - ago, 1))
  const today = Date.UTC(year, month, day)
  if (period === 'day') return labelOf(today - ago * DAY_MS)
  const daysSinceMonday = (date.getUTCDay() + 6) % 7
  return labelOf(today - (daysSinceMonday + 7 * ago) * DAY_MS)
}

const labelOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10)
