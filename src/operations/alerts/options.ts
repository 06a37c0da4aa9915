/** Options of `tp.alerts()`. */
import { durationValidator, type Duration } from '../../duration.ts'
import {
  callback,
  identifier,
  isFunction,
  isObject,
  oneOf,
  optionError,
  plainObject,
  validateOptions,
} from '../../validate.ts'

/** When an alert fires. */
export interface AlertRule {
  /** Returns the value. Undefined: it is not known, and the alert stays as it is. */
  value(): number | undefined | Promise<number | undefined>
  /** The value is bad if it is higher. */
  above?: number
  /** The value is bad if it is lower. */
  below?: number
  /**
   * Where the value is good again. In between a firing alert goes on.
   * @default a tenth better than `above` or `below`
   */
  clear?: number
  /**
   * How long the value must be bad before the alert fires, and good before it is resolved.
   * @default '1m'
   */
  for?: Duration
  /**
   * How bad it is.
   * @default 'warn'
   */
  severity?: 'warn' | 'critical'
  /** What it means, for people. */
  summary?: string
  /** What to do about it. */
  remedy?: string
}

/** What `notify` gets. */
export interface Alert {
  /** The rule's name. */
  readonly name: string
  /** What changed. `reminder`: it still fires. */
  readonly type: 'firing' | 'resolved' | 'reminder'
  /** How bad it is, as the rule says. */
  readonly severity: 'warn' | 'critical'
  /** The value that was seen last. */
  readonly value: number
  /** When the value became bad, in ms since the epoch by Redis's clock. */
  readonly since: number
  /** What it means, for people. */
  readonly summary: string
  /** What to do about it. An empty string if the rule does not say it. */
  readonly remedy: string
  /** True if Redis is away: then each process notifies for itself. */
  readonly isLocal: boolean
}

declare global {
  namespace TurnpikeExtensions {
    interface Events {
      /** An alert changed. It is emitted in the process that notifies of it. */
      alert: Alert
    }
  }
}

/** Options of `tp.alerts()`. */
export interface AlertsOptions {
  /**
   * Sends a message. It is called once for each change, in one of the processes. If it rejects, or has
   * not settled within 10 seconds, it is called again at the next check.
   * @example (alert) => fetch(webhook, { method: 'POST', body: JSON.stringify(alert) })
   */
  notify(alert: Alert): unknown
  /**
   * Rules by name, besides the default ones: `redis-away`, `redis-memory`, `redis-evictions`,
   * `redis-clients`, `redis-slow`, `clock-skew`, `cache-hit-rate`, `processes-lost`. `false` leaves a
   * default rule out.
   * @default the default rules
   */
  rules?: Readonly<Record<string, AlertRule | false>>
  /**
   * Pause between two checks, over all processes. At least a second.
   * @default '10s'
   */
  every?: Duration
  /**
   * Pause between reminders while an alert fires. 0: none.
   * @default '4h'
   */
  remind?: Duration
}

const number = {
  expected: 'a number',
  accepts: (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value),
}
const text = {
  expected: 'a string',
  accepts: (value: unknown): boolean => typeof value === 'string',
}

/** Validates the options. @throws TP_OPTION */
export function validateAlerts(options: AlertsOptions): void {
  const where = 'tp.alerts()'
  validateOptions(where, options, {
    notify: callback,
    rules: plainObject,
    every: durationValidator,
    remind: durationValidator,
  })
  if (!isFunction(options.notify)) throw optionError(where, 'notify', options.notify, 'a function')
  for (const [name, rule] of Object.entries(options.rules ?? {})) {
    if (!identifier.accepts(name))
      throw optionError(where, 'rules', name, `names of ${identifier.expected}`)
    if (rule !== false) validateRule(`${where}: rules.${name}`, rule)
  }
}

function validateRule(where: string, rule: AlertRule): void {
  if (!isObject(rule)) throw optionError('tp.alerts()', 'rules', rule, 'rules, or false, by name')
  validateOptions(where, rule, {
    value: callback,
    above: number,
    below: number,
    clear: number,
    for: durationValidator,
    severity: oneOf('warn', 'critical'),
    summary: text,
    remedy: text,
  })
  if (!isFunction(rule.value)) throw optionError(where, 'value', rule.value, 'a function')
  const { above, below, clear } = rule
  if ((above === undefined) === (below === undefined))
    throw optionError(where, 'above', above, 'a number, or below is one, but not both')
  const isReachable = above === undefined ? clear! >= below! : clear! <= above
  if (clear !== undefined && !isReachable)
    throw optionError(where, 'clear', clear, 'on the good side of above or below')
}
