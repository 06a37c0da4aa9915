/** The number of permits. */
import { TurnpikeError } from '../../errors.ts'
import { integer, type Validator } from '../../validate.ts'

export const permitCount: Validator = integer(0, 1_000_000)

/** Returns a limit that a function returned. @throws TP_VALUE if it cannot be used */
export function validLimit(limit: unknown, where: string): number {
  if (permitCount.accepts(limit)) return limit as number
  const found = typeof limit === 'number' ? limit : typeof limit
  throw new TurnpikeError(
    'TP_VALUE',
    `${where}: \`limit\` must return ${permitCount.expected}. It returned ${found}.`,
  )
}
