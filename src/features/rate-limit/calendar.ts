/** Days and months as people in a time zone count them. */
export interface Period {
  /** Milliseconds since the epoch; the end is exclusive. */
  start: number
  end: number
}

/** Gives the period that holds a moment. */
export type Calendar = (now: number) => Period

/**
 * The calendar days or months of a time zone (an IANA name). A day of a clock change has 23 or 25
 * hours; where midnight is skipped, the day begins with its first moment.
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
  /** The zone's wall clock at `at`, as if it were UTC. */
  const wall = (at: number): Date => {
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
  /** The moment at which the wall clock shows `local` (given as if it were UTC). */
  const moment = (local: number): number => {
    const ahead = (at: number): number => wall(at).getTime() - at
    const guess = local - ahead(local)
    return local - ahead(guess)
  }
  let held: Period = { start: 0, end: 0 }
  return (now) => {
    if (now >= held.start && now < held.end) return held
    const local = wall(Math.floor(now / 1000) * 1000)
    const [year, month, day] = [local.getUTCFullYear(), local.getUTCMonth(), local.getUTCDate()]
    held =
      unit === 'day'
        ? { start: moment(Date.UTC(year, month, day)), end: moment(Date.UTC(year, month, day + 1)) }
        : { start: moment(Date.UTC(year, month)), end: moment(Date.UTC(year, month + 1)) }
    return held
  }
}
