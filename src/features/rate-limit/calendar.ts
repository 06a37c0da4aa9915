/** Days and months of a calendar, in a time zone. */

export interface Period {
  /** In ms since the epoch. */
  start: number
  /** In ms since the epoch, exclusive. */
  end: number
}

/** Returns the period that contains a moment. */
export type Calendar = (now: number) => Period

/**
 * Returns the calendar days or months of a time zone (an IANA name). A day of a clock change has 23
 * or 25 hours. Where midnight is skipped, the day begins with its first moment.
 * @throws RangeError for a time zone that does not exist
 */
export function calendar(unit: 'day' | 'month', timeZone: string): Calendar {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })
  /** Returns what the zone's clocks show at a moment, as if that were UTC. */
  const localTime = (at: number): Date => {
    const field: Record<string, number> = {}
    for (const { type, value } of format.formatToParts(at)) field[type] = Number(value)
    return new Date(
      Date.UTC(
        field['year']!,
        field['month']! - 1,
        field['day'],
        field['hour'],
        field['minute'],
        field['second'],
      ),
    )
  }
  /** Returns the moment at which the zone's clocks show `local`, which is written as if it were UTC. */
  const momentOf = (local: number): number => {
    const offsetAt = (at: number): number => localTime(at).getTime() - at
    const guess = local - offsetAt(local)
    return local - offsetAt(guess)
  }
  let current: Period = { start: 0, end: 0 }
  return (now) => {
    if (now >= current.start && now < current.end) return current
    const local = localTime(Math.floor(now / 1000) * 1000)
    const [year, month, day] = [local.getUTCFullYear(), local.getUTCMonth(), local.getUTCDate()]
    current =
      unit === 'day'
        ? {
            start: momentOf(Date.UTC(year, month, day)),
            end: momentOf(Date.UTC(year, month, day + 1)),
          }
        : { start: momentOf(Date.UTC(year, month)), end: momentOf(Date.UTC(year, month + 1)) }
    return current
  }
}
