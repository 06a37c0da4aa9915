import { logAvailability, loggerOf, type Logger } from './availability-log.ts'
import { systemClock, type Clock } from './clock.ts'
import type { EventBus, EventMap } from './events.ts'

/** Time that a line is about, in ms. */
const MINUTE = 60_000
/** Number of limits that have a line of their own in a minute. The others share one. */
const MAX_LINES = 10

const CAUSES: Readonly<Record<EventMap['slow']['cause'], string>> = {
  process: 'The event loop of this process was blocked.',
  server: 'Redis or the network was slow: run npx turnpike doctor.',
  call: 'Other calls were not: look for a large value, or at SLOWLOG GET.',
}

/**
 * Starts the log of an instance. Returns the function that ends it.
 * @param isTest the application passed a store: it turns its clock
 */
export function startLog(
  events: EventBus,
  logger: Logger | false | undefined,
  clock: Clock,
  isTest: boolean,
): () => void {
  if (logger === false) return () => {}
  const ends = [logAvailability(events, logger, clock)]
  // Lines about refusals that a test causes would only confuse.
  if (logger !== undefined || !isTest) ends.push(logActivity(events, logger, clock))
  return () => ends.forEach((end) => end())
}

/**
 * Writes what happened within a minute: a line for each limit that refused, and one for each cause of
 * slow calls. Returns the function that ends it. It has no timer before something happens.
 */
export function logActivity(
  events: EventBus,
  logger?: Logger,
  clock: Clock = systemClock(),
): () => void {
  const { warn, info = warn } = loggerOf(logger)
  const ending = new AbortController()
  const refusals = new RefusalCounts(events)
  const slow = new Map<EventMap['slow']['cause'], EventMap['slow']>()
  let isRunning = false

  async function run(): Promise<void> {
    for (;;) {
      // Rejects when the instance is closed.
      await clock.sleep(MINUTE, ending.signal, true)
      for (const line of refusals.lines()) info(line)
      for (const event of slow.values()) warn(slowLine(event))
      slow.clear()
    }
  }
  function start(): void {
    if (isRunning) return
    isRunning = true
    void run().catch(() => {})
  }

  events.counts.onFirstRefusal = start
  const unsubscribe = events.on('slow', (event) => {
    const before = slow.get(event.cause)
    const slowest = before && before.ms > event.ms ? before : event
    slow.set(event.cause, { ...slowest, count: event.count + (before?.count ?? 0) })
    start()
  })
  return () => {
    events.counts.onFirstRefusal = undefined
    unsubscribe()
    ending.abort()
  }
}

function slowLine({ store, operation, ms, cause, count }: EventMap['slow']): string {
  const name = store === 'redis' ? 'Redis' : `Redis (${store})`
  return `Slow calls to ${name} within a minute: ${count}. The slowest, ${operation}, took ${Math.round(ms)} ms. ${CAUSES[cause]}`
}

/** The refusals of each limit since the minute before. */
class RefusalCounts {
  readonly #events: EventBus
  readonly #reported = new Map<string, number>()

  constructor(events: EventBus) {
    this.#events = events
  }

  /** Returns the lines about the refusals since the last call. */
  lines(): string[] {
    const all = this.#increases()
    const lines = all
      .slice(0, MAX_LINES)
      .map(
        ([limit, count]) =>
          `Refusals by ${limit} within a minute: ${count}. npx turnpike limits lists who was refused.`,
      )
    const others = all.slice(MAX_LINES)
    if (others.length > 0) {
      const sum = others.reduce((total, [, count]) => total + count, 0)
      lines.push(`Refusals by ${others.length} more limits within a minute: ${sum}.`)
    }
    return lines
  }

  /** Returns how often each limit has refused since the last call, the highest number first. */
  #increases(): [limit: string, count: number][] {
    const totals = new Map<string, number>()
    // A row for each policy: `<limit>\n<policy>`.
    for (const { name, values } of this.#events.counts.rows('refusal')) {
      const [limit = ''] = name.split('\n')
      totals.set(limit, (totals.get(limit) ?? 0) + values[0]!)
    }
    const increases: [string, number][] = []
    for (const [limit, total] of totals) {
      const increase = total - (this.#reported.get(limit) ?? 0)
      this.#reported.set(limit, total)
      if (increase > 0) increases.push([limit, increase])
    }
    return increases.toSorted(([, a], [, b]) => b - a)
  }
}
