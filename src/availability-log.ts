import { systemClock, type Clock } from './clock.ts'
import type { EventBus } from './events.ts'

/** Where turnpike writes its log lines. `console` and the loggers of pino and winston have this form. */
export interface Logger {
  /** Writes a line about something that an operator should know. */
  warn(message: string): void
  /** For lines that need no action. Default: `warn` */
  info?(message: string): void
}

/** How long after it went away Redis is said to be away still, in ms. */
const REMINDERS = [60_000, 300_000, 1_800_000]

/** Writes to standard error: text on a terminal, and elsewhere a line of JSON, as collectors read it. */
export function defaultLogger(stream: NodeJS.WriteStream = process.stderr): Logger {
  const write = (level: 'warn' | 'info', message: string): void => {
    const line = stream.isTTY
      ? `turnpike: ${printable(message)}`
      : JSON.stringify({ time: new Date().toISOString(), level, name: 'turnpike', msg: message })
    stream.write(`${line}\n`)
  }
  return {
    warn: (message) => write('warn', message),
    info: (message) => write('info', message),
  }
}

/** Escapes control characters. What Redis replied could move a terminal's cursor. */
const printable = (text: string): string =>
  text.replaceAll(/\p{Cc}/gu, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)

/** A time without Redis. */
interface Outage {
  /** How often each failure rule was applied. */
  readonly applied: Map<string, number>
  end(): void
}

/**
 * Writes one line when Redis goes away and one when it is back, with the number of times that each
 * failure rule was applied. In between it writes one after 1, 5 and 30 minutes. Returns the function
 * that ends it.
 */
export function logAvailability(
  events: EventBus,
  logger?: Logger,
  clock: Clock = systemClock(),
): () => void {
  const { warn, info } = loggerOf(logger)
  const outages = new Map<string, Outage>()

  function begin(store: string, name: string): Outage {
    const applied = new Map<string, number>()
    const over = new AbortController()
    const unsubscribe = events.on('unavailable', ({ rule }) => {
      applied.set(rule, (applied.get(rule) ?? 0) + 1)
    })
    void remind(over.signal, (ms) => {
      warn(`${name} is still away after ${ms / 60_000} min.${ruleCounts(applied)}`)
    }).catch(() => {})
    const end = (): void => {
      outages.delete(store)
      unsubscribe()
      over.abort()
    }
    return { applied, end }
  }

  async function remind(over: AbortSignal, write: (ms: number) => void): Promise<void> {
    let waited = 0
    for (const ms of REMINDERS) {
      await clock.sleep(ms - waited, over, true)
      waited = ms
      write(ms)
    }
  }

  const unsubscribe = events.on('availability', ({ store, type, reason, awayMs }) => {
    const name = store === 'redis' ? 'Redis' : `Redis (${store})`
    const outage = outages.get(store)
    outage?.end()
    if (type === 'back') {
      const counts = ruleCounts(outage?.applied ?? new Map<string, number>())
      return (info ?? warn)(`${name} is back after ${(awayMs / 1000).toFixed(1)} s.${counts}`)
    }
    outages.set(store, begin(store, name))
    warn(`${name} is away: ${reason}. Until it is back, the failure rules apply.`)
  })
  return () => {
    unsubscribe()
    for (const { end } of outages.values()) end()
  }
}

/** Returns the logger to write to. Lines of an application's begin with the package's name. */
export function loggerOf(logger: Logger | undefined): Logger {
  // Lines of the default logger carry the name in a field of their own.
  if (logger === undefined) return defaultLogger()
  const start = (message: string): string => `turnpike: ${message}`
  const { info } = logger
  return {
    warn: (message) => logger.warn(start(message)),
    ...(info && { info: (message) => info.call(logger, start(message)) }),
  }
}

function ruleCounts(applied: ReadonlyMap<string, number>): string {
  const counts = [...applied].map(([rule, count]) => `${rule} ${count}`)
  return counts.length > 0 ? ` Failure rules applied: ${counts.join(', ')}.` : ''
}
