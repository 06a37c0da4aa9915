/** Cron expressions, as BullMQ's parser reads them. */
import { optionError } from '../../validate.ts'
import { loadBullmq } from './bullmq-connection.ts'

/** @throws TP_OPTION for a cron expression or time zone that cannot be parsed */
export async function checkCron(pattern: string, timeZone: string | undefined): Promise<void> {
  await nextCronTime(pattern, timeZone, Date.now())
}

/**
 * Returns the next time of a cron expression, in ms since the epoch.
 * @throws TP_OPTION for a cron expression or time zone that cannot be parsed
 */
export async function nextCronTime(
  pattern: string,
  timeZone: string | undefined,
  now: number,
): Promise<number> {
  const { getNextMillis } = await loadBullmq()
  let next: number | undefined
  try {
    // The parser fills missing fields up: '5' would be each Friday.
    if (/^\S+(\s+\S+){4,5}$/.test(pattern.trim()))
      next = getNextMillis(now, { pattern, tz: timeZone ?? 'UTC' })
  } catch {
    // What is wrong with it is said below.
  }
  if (next !== undefined && Number.isFinite(next)) return next
  throw optionError(
    'queue.add()',
    'every',
    pattern,
    "an interval like '15m', or a cron expression of five or six fields with a known timeZone",
  )
}
