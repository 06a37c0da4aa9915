import type { EventBus } from './events.ts'

/** Where turnpike writes its log lines. `console` and the loggers of pino and winston have this form. */
export interface Logger {
  /** Writes a line about something that an operator should know. */
  warn(message: string): void
  /** For good news. Default: `warn` */
  info?(message: string): void
}

const STDERR: Logger = { warn: (message) => void process.stderr.write(`${message}\n`) }

/**
 * Writes one line when Redis goes away and one when it is back, with the number of requests that
 * were answered without it, by the rule that applied. Returns the function that ends it.
 */
export function logAvailability(events: EventBus, logger: Logger = STDERR): () => void {
  const outages = new Map<string, { applied: Map<string, number>; end(): void }>()
  const unsubscribe = events.on('availability', ({ store, type, reason, awayMs }) => {
    const name = store === 'redis' ? 'Redis' : `Redis (${store})`
    outages.get(store)?.end()
    const applied = outages.get(store)?.applied ?? new Map<string, number>()
    outages.delete(store)
    if (type === 'back') {
      const counts = [...applied].map(([rule, count]) => `${rule} ${count}`)
      const answered = counts.length > 0 ? ` Failure rules applied: ${counts.join(', ')}.` : ''
      const line = `turnpike: ${name} is back after ${seconds(awayMs)}.${answered}`
      ;(logger.info ?? logger.warn).call(logger, line)
      return
    }
    const end = events.on('unavailable', ({ rule }) => {
      applied.set(rule, (applied.get(rule) ?? 0) + 1)
    })
    outages.set(store, { applied, end })
    logger.warn(`turnpike: ${name} is away: ${reason}. Until it is back, the failure rules apply.`)
  })
  return () => {
    unsubscribe()
    for (const { end } of outages.values()) end()
  }
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`
