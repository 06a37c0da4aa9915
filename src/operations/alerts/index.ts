/** `tp.alerts()`: one message for each change, over all processes. What checks is loaded at the first check. */
import { durationOption, type Duration } from '../../duration.ts'
import type { ExtensionContext } from '../../extension.ts'
import { nonEmptyString, optionError } from '../../validate.ts'
import type { AlertChecks, CurrentAlert } from './alert-checks.ts'
import { validateAlerts, type AlertsOptions } from './options.ts'

/** Alerts of an application. */
export interface Alerts {
  /**
   * Resolves with the alerts that are pending or firing.
   * @throws TP_UNAVAILABLE
   */
  list(): Promise<CurrentAlert[]>
  /**
   * Silences a rule for a time, in all processes: it stays as it is, and sends nothing. `0` ends it.
   * @throws TP_UNAVAILABLE, TP_OPTION
   * @example
   * await alerts.silence('redis-memory', '2h')
   */
  silence(rule: string, time: Duration): Promise<void>
  /** Ends the checks of this process. `tp.close()` does the same. */
  stop(): void
}

/** The alerts of an instance. */
export interface AlertsApi {
  /**
   * Checks rules in one of the processes at a time, and calls `notify` once when an alert fires and
   * once when it is resolved.
   * @throws TP_OPTION
   * @example
   * tp.alerts({ notify: ({ name, type, summary }) => post(`${name} is ${type}: ${summary}`) })
   */
  alerts(options: AlertsOptions): Alerts
}

/** Creates the alerts of an instance. */
export function createAlerts(context: ExtensionContext): { api: AlertsApi } {
  return { api: { alerts: (options) => startAlerts(context, options) } }
}

function startAlerts(context: ExtensionContext, options: AlertsOptions): Alerts {
  const where = 'tp.alerts()'
  validateAlerts(options)
  const every = durationOption(options.every ?? '10s', where, 'every', 1000)
  const remindMs = durationOption(options.remind ?? '4h', where, 'remind', 0)
  const ending = new AbortController()
  let checks: AlertChecks | undefined

  async function open(): Promise<AlertChecks> {
    const { AlertChecks } = await import('./alert-checks.ts')
    return (checks ??= new AlertChecks(context, { ...options, every, remindMs }))
  }
  async function run(): Promise<void> {
    for (;;) {
      // Processes that were started together do not check at the same moment.
      await context.store.sleep(every * (0.9 + Math.random() / 10), ending.signal, true)
      const current = await open()
      if (ending.signal.aborted) return
      await current.check()
    }
  }

  // Rejects when it ends. A failed check is an event.
  const ended = run().catch(() => {})
  context.onClose(async (drain) => {
    ending.abort()
    if (drain.aborted) return
    // A message that is being sent may take as long as other work.
    await new Promise<void>((resolve) => {
      drain.addEventListener('abort', () => resolve(), { once: true })
      void ended.then(resolve)
    })
  })
  return {
    list: async () => await (await open()).list(),
    async silence(rule, time) {
      const name = 'alerts.silence()'
      if (!nonEmptyString.accepts(rule)) throw optionError(name, 'rule', rule, 'the name of a rule')
      await (await open()).silence(rule, durationOption(time, name, 'time', 0))
    },
    stop: () => ending.abort(),
  }
}
