/** The checks of alerts: loaded when the first one is due. */
import { callWithin } from '../../clock.ts'
import { durationOption } from '../../duration.ts'
import { isUnavailable } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import { optionError } from '../../validate.ts'
import {
  alertKey,
  readAlert,
  reportAlert,
  silenceAlert,
  silenceKey,
  takeAlertTurn,
  turnKey,
} from './alert-operations.ts'
import {
  nextAlertState,
  type AlertChange,
  type AlertState,
  type AlertVerdict,
} from './alert-state.ts'
import { AlertFacts, DEFAULT_RULES, LOCAL_RULE, REDIS_AWAY } from './default-rules.ts'
import type { Alert, AlertRule, AlertsOptions } from './options.ts'

/** An alert that is pending or firing. */
export interface CurrentAlert {
  /** The rule's name. */
  readonly name: string
  /** `pending`: the value is bad, but not for long enough. */
  readonly state: 'pending' | 'firing'
  /** When the value became bad, in ms since the epoch. */
  readonly since: number
}

/** Settings with times in ms. */
export interface AlertSettings extends Pick<AlertsOptions, 'notify' | 'rules'> {
  readonly every: number
  readonly remindMs: number
}

type CheckedRule = Omit<AlertRule, 'value'> & {
  value(facts: AlertFacts): ReturnType<AlertRule['value']>
}

/** How long an alert is kept that no process checks any more, in ms. */
const KEPT_MS = 86_400_000
/** Share of a limit by which a value must be better to be good again. */
const MARGIN = 0.1
/** Longest time for a value or a message, in ms. The other rules wait for it. */
const CALL_TIMEOUT = 10_000
/** Messages that could not be sent and are tried again. */
const MAX_UNSENT = 100

/** Checks the rules of one instance. */
export class AlertChecks {
  readonly #context: ExtensionContext
  readonly #settings: AlertSettings
  readonly #rules: ReadonlyMap<string, CheckedRule>
  #local: AlertState | undefined
  #unsent: Alert[] = []

  constructor(context: ExtensionContext, settings: AlertSettings) {
    this.#context = context
    this.#settings = settings
    const all: Record<string, CheckedRule | false> = { ...DEFAULT_RULES, ...settings.rules }
    this.#rules = new Map(
      Object.entries(all).flatMap(([name, rule]): [string, CheckedRule][] =>
        rule === false || name === REDIS_AWAY ? [] : [[name, rule]],
      ),
    )
  }

  /** Checks all rules if no other process does. It never rejects. */
  async check(): Promise<void> {
    const { store, keys } = this.#context
    for (const alert of this.#unsent.splice(0)) await this.#send(alert)
    try {
      const args = [Math.round(this.#settings.every * 0.85)]
      const isTurn = (await store.run(takeAlertTurn, [turnKey(keys)], args)) === 1
      await this.#checkLocally('good')
      if (isTurn) await this.#checkAll()
    } catch (error) {
      if (isUnavailable(error)) await this.#checkLocally('bad')
      else this.#report('check', error)
    }
  }

  /** Returns the alerts that are pending or firing. @throws TP_UNAVAILABLE */
  async list(): Promise<CurrentAlert[]> {
    const { store, keys } = this.#context
    const found = await Promise.all(
      [...this.#rules.keys()].map(async (name): Promise<CurrentAlert[]> => {
        const parts = (await store.run(readAlert, [alertKey(keys, name)], [])).flat()
        const fields = new Map<string, string>()
        for (let i = 0; i + 1 < parts.length; i += 2) fields.set(parts[i]!, parts[i + 1]!)
        const state = fields.get('state')
        if (state !== 'pending' && state !== 'firing') return []
        return [{ name, state, since: Number(fields.get('since')) }]
      }),
    )
    return found.flat()
  }

  /** Silences a rule. @throws TP_UNAVAILABLE, TP_OPTION */
  async silence(name: string, ms: number): Promise<void> {
    if (!this.#rules.has(name))
      throw optionError(
        'alerts.silence()',
        'rule',
        name,
        `one of ${[...this.#rules.keys()].join(', ')}`,
      )
    const { store, keys } = this.#context
    await store.run(silenceAlert, [silenceKey(keys, name)], [ms])
  }

  async #checkAll(): Promise<void> {
    const facts = new AlertFacts(this.#context)
    for (const [name, rule] of this.#rules) {
      let value: number | undefined
      try {
        value = await this.#call('value', () => rule.value(facts))
      } catch (error) {
        if (isUnavailable(error)) throw error
        this.#report(name, error)
      }
      if (value === undefined || !Number.isFinite(value)) continue
      const { store, keys } = this.#context
      const { forMs, remindMs } = this.#timesOf(rule)
      const args = [verdictOf(rule, value), forMs, remindMs, KEPT_MS + forMs]
      const [change, since] = await store.run(
        reportAlert,
        [alertKey(keys, name), silenceKey(keys, name)],
        args,
      )
      await this.#notify({ name, rule, value, since: Number(since), isLocal: false }, change)
    }
  }

  /** Checks whether Redis is away, by this process's own clock. */
  async #checkLocally(verdict: AlertVerdict): Promise<void> {
    const { rules } = this.#settings
    if (rules?.[REDIS_AWAY] === false) return
    const before = this.#local
    const { store } = this.#context
    const rule = rules?.[REDIS_AWAY] || LOCAL_RULE
    const times = this.#timesOf(rule)
    // It is over at once: this process has used Redis.
    const { state, change } = nextAlertState(
      before,
      verdict,
      verdict === 'good' ? { ...times, forMs: 0 } : times,
      store.monotonic(),
    )
    this.#local = state
    if (change === 'none') return
    const since = Math.round(store.now() - store.monotonic() + (state ?? before)!.since)
    const value = verdict === 'bad' ? 1 : 0
    await this.#notify({ name: REDIS_AWAY, rule, value, since, isLocal: true }, change)
  }

  async #notify(
    {
      rule,
      ...seen
    }: Pick<Alert, 'name' | 'value' | 'since' | 'isLocal'> & { rule: Omit<AlertRule, 'value'> },
    change: AlertChange,
  ): Promise<void> {
    if (change === 'none') return
    const { severity = 'warn', summary = `The value of ${seen.name} is bad.`, remedy = '' } = rule
    const alert: Alert = { ...seen, type: change, severity, summary, remedy }
    this.#context.events.emit('alert', alert)
    await this.#send(alert)
  }

  async #send(alert: Alert): Promise<void> {
    try {
      await this.#call('notify', () => this.#settings.notify(alert))
    } catch (error) {
      this.#report(alert.name, error)
      if (this.#unsent.length < MAX_UNSENT) this.#unsent.push(alert)
    }
  }

  /** Calls a function of the application. @throws also if it does not settle in time */
  #call<Result>(name: string, call: () => Result): Promise<Awaited<Result>> {
    return callWithin(this.#context.store, CALL_TIMEOUT, `tp.alerts(): ${name}`, call)
  }

  #timesOf({ for: time = '1m' }: Pick<AlertRule, 'for'>): { forMs: number; remindMs: number } {
    const { remindMs } = this.#settings
    return { forMs: durationOption(time, 'tp.alerts()', 'for', 0), remindMs }
  }

  #report(name: string, error: unknown): void {
    this.#context.events.emit('error', { feature: 'alerts', name, error })
  }
}

/** Returns what a value means for a rule. */
function verdictOf(
  { above, below, clear }: Pick<AlertRule, 'above' | 'below' | 'clear'>,
  value: number,
): AlertVerdict {
  const limit = above ?? below!
  const better = above === undefined ? 1 : -1
  const end = clear ?? limit + better * Math.abs(limit) * MARGIN
  if (better * (value - limit) < 0) return 'bad'
  return better * (value - end) >= 0 ? 'good' : 'between'
}
