/** The alerts that every application wants, by the thresholds that doctor has as well. */
import type { ExtensionContext } from '../../extension.ts'
import { readProcesses, type ProcessReport } from '../processes.ts'
import { THRESHOLDS, type ThresholdName } from '../thresholds.ts'
import type { AlertRule } from './options.ts'

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
    const info = await (this.#info ??= this.#context.store.info())
    const all = Number(info[whole])
    return all > 0 ? Number(info[field]) / all : undefined
  }

  /** Returns the highest value of the live processes. */
  async highest(of: (process: ProcessReport) => number | undefined): Promise<number | undefined> {
    const processes = await (this.#processes ??= readProcesses(this.#context))
    const values = processes
      .filter(({ state }) => state === 'live')
      .flatMap((each) => of(each) ?? [])
    return values.length > 0 ? Math.max(...values) : undefined
  }
}

/** A rule over the facts of a check. */
export interface DefaultRule extends Omit<AlertRule, 'value'> {
  value(facts: AlertFacts): Promise<number | undefined>
}

function rule(
  threshold: ThresholdName,
  parts: Pick<DefaultRule, 'value' | 'summary' | 'remedy'>,
): DefaultRule {
  const { bad, warn, critical } = THRESHOLDS[threshold]
  return {
    ...parts,
    [bad]: critical ?? warn,
    severity: critical === undefined ? 'warn' : 'critical',
    for: '1m',
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
