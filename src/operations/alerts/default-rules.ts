/** The alerts that every application wants, by the thresholds that doctor has as well. */
import type { ExtensionContext } from '../../extension.ts'
import { cacheRequestsOf } from '../hit-rate.ts'
import { readMinute, readProcesses, type ProcessReport } from '../processes.ts'
import { THRESHOLDS, type ThresholdName } from '../thresholds.ts'
import { counterKey, countIncrease } from './alert-operations.ts'
import type { AlertRule } from './options.ts'

const MINUTE = 60_000
/** Whole minutes whose requests make a hit rate. */
const MINUTES = [1, 2, 3, 4, 5]
/** Below so many requests a rate says nothing. */
const MIN_REQUESTS = 1_000
/** Window of increases of the server's counters, in ms. */
const WINDOW = 5 * MINUTE
/** How long what a counter was is kept, in ms. */
const KEPT = 60 * MINUTE
/** A process counts as lost for this long, in ms. Then the alert is over. */
const LOST_FOR = 10 * MINUTE

/** What the rules of one check share. */
export class AlertFacts {
  readonly #context: ExtensionContext
  #info: Promise<Record<string, string>> | undefined
  #processes: Promise<ProcessReport[]> | undefined

  constructor(context: ExtensionContext) {
    this.#context = context
  }

  /** Returns the share that one field of INFO is of another. */
  async share(field: string, whole: string): Promise<number | undefined> {
    const info = await this.#readInfo()
    const all = Number(info[whole])
    return all > 0 ? Number(info[field]) / all : undefined
  }

  /** Returns how much a counter of INFO has grown in the last five to ten minutes. */
  async increase(field: string): Promise<number | undefined> {
    const value = Number((await this.#readInfo())[field] ?? NaN)
    if (!Number.isSafeInteger(value)) return undefined
    const { keys, store } = this.#context
    const args = [value, WINDOW, KEPT]
    return Number(await store.run(countIncrease, [counterKey(keys, field)], args))
  }

  /** Returns the highest value of the live processes. */
  async highest(of: (process: ProcessReport) => number | undefined): Promise<number | undefined> {
    const values = (await this.#readProcesses())
      .filter(({ state }) => state === 'live')
      .flatMap((each) => of(each) ?? [])
    return values.length > 0 ? Math.max(...values) : undefined
  }

  /** Returns the number of processes that were lost in the last minutes. */
  async lostProcesses(): Promise<number> {
    const since = this.#context.store.now() - LOST_FOR
    const processes = await this.#readProcesses()
    return processes.filter(({ lastSeen, state }) => state === 'lost' && lastSeen > since).length
  }

  /** Returns the share of the requests to caches in the last five minutes that a cache answered. */
  async cacheHitRate(): Promise<number | undefined> {
    const now = this.#context.store.now()
    const minutes = MINUTES.map((ago) => readMinute(this.#context, now - ago * MINUTE))
    const counts = (await Promise.all(minutes)).flatMap((minute) => [...minute])
    const { answered, asked } = cacheRequestsOf(counts)
    return asked >= MIN_REQUESTS ? answered / asked : undefined
  }

  async #readInfo(): Promise<Record<string, string>> {
    return await (this.#info ??= this.#context.store.info())
  }

  async #readProcesses(): Promise<ProcessReport[]> {
    return await (this.#processes ??= readProcesses(this.#context))
  }
}

/** A rule over the facts of a check. */
export interface DefaultRule extends Omit<AlertRule, 'value'> {
  value(facts: AlertFacts): Promise<number | undefined>
}

function rule(
  threshold: ThresholdName,
  parts: Pick<DefaultRule, 'value' | 'summary' | 'remedy' | 'for'>,
): DefaultRule {
  const { bad, warn, critical } = THRESHOLDS[threshold]
  return {
    for: '1m',
    ...parts,
    [bad]: critical ?? warn,
    severity: critical === undefined ? 'warn' : 'critical',
  }
}

/** The name of the rule that needs no Redis. */
export const REDIS_AWAY = 'redis-away'

/** The rules by name. */
export const DEFAULT_RULES: Readonly<Record<string, DefaultRule>> = {
  'redis-memory': rule('memory', {
    value: (facts) => facts.share('used_memory', 'maxmemory'),
    summary: "Redis's memory is nearly full.",
    remedy: 'docs/operations.md#rediss-memory-is-full',
  }),
  'redis-evictions': rule('evictions', {
    value: (facts) => facts.increase('evicted_keys'),
    for: '0s',
    summary: 'Redis was full and deleted keys in the last minutes.',
    remedy: 'docs/operations.md#rediss-memory-is-full',
  }),
  'redis-clients': rule('clients', {
    value: (facts) => facts.share('connected_clients', 'maxclients'),
    summary: 'Redis has nearly as many connections as it accepts.',
    remedy: 'Find who connects: CLIENT LIST.',
  }),
  'redis-slow': rule('ping', {
    value: (facts) => facts.highest(({ redis }) => redis?.p50),
    summary: 'Half of the calls of a process to Redis take longer than 50 ms.',
    remedy: 'npx turnpike doctor',
  }),
  'clock-skew': rule('clockSkew', {
    value: (facts) =>
      facts.highest(({ clockSkewMs }) =>
        clockSkewMs === undefined ? undefined : Math.abs(clockSkewMs),
      ),
    summary: "The clock of a process differs from Redis's by more than 5 s.",
    remedy: 'Synchronise the clocks (NTP).',
  }),
  'cache-hit-rate': rule('hitRate', {
    value: (facts) => facts.cacheHitRate(),
    for: '10m',
    summary: 'Caches answer less than half of their requests.',
    remedy: 'docs/cache.md has a section on each reason why a response is not stored.',
  }),
  'processes-lost': rule('lostProcesses', {
    value: (facts) => facts.lostProcesses(),
    summary: 'A process was killed, or cannot reach Redis.',
    remedy: 'npx turnpike processes. A process that ends in order calls tp.close().',
  }),
}

/** The rule for the time when Redis is away: each process checks it alone. */
export const LOCAL_RULE: AlertRule = {
  value: () => 1,
  above: 0,
  for: '1m',
  severity: 'critical',
  summary: 'Redis cannot be used by this process. The failure rules apply.',
  remedy: 'docs/operations.md#redis-is-away',
}
