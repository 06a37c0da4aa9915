/** The beat of an instance: when it reports. What it reports is loaded when the first report is due. */
import { hostname } from 'node:os'
import { isUnavailable } from '../errors.ts'
import type { Clock } from '../clock.ts'
import type { ActiveRules } from '../control/active-rules.ts'
import type { ExtensionContext } from '../extension.ts'
import type { RefusedSubject } from '../feature-counts.ts'
import { PROCESS_ID } from '../features/lease-owner.ts'
import type { Beat, ProcessFacts } from './beat.ts'
import { createRuntimeControl } from './control/index.ts'
import type { ControlApi } from './control/options.ts'
import { operationsSettings, type OperationsOptions } from './options.ts'
import type { ProcessReport } from './processes.ts'
import type { SystemMetrics } from './system-metrics.ts'

/** What a process can say of its application's processes. */
export interface OperationsApi {
  /**
   * Returns the processes that share this prefix, those that were lost within an hour included. A
   * process appears when it first reports, within ten seconds.
   * @throws TP_UNAVAILABLE
   * @example
   * const lost = (await tp.processes()).filter(({ state }) => state === 'lost')
   */
  processes(): Promise<ProcessReport[]>
  /**
   * Returns what processes have measured of themselves and their machines: CPU, memory, event loop,
   * connections, queues and caches. Each process measures once a minute, and its metrics are kept for
   * two minutes.
   * @throws TP_UNAVAILABLE
   * @example
   * const busy = (await tp.systemMetrics()).filter(({ cpuPercent }) => cpuPercent > 90)
   */
  systemMetrics(): Promise<SystemMetrics[]>
}

/** What the beat needs of its instance. */
export interface OperationsParts {
  readonly options: boolean | OperationsOptions
  readonly clock: Clock
  readonly version: ProcessFacts['version']
  readonly status: ProcessFacts['status']
  /** Called with the number of live processes after each report. */
  onLive(count: number): void
}

let instances = 0

/** Number of refusals that are kept until the first report is due. */
const MAX_EARLY = 256

/** Creates the operations of an instance, and starts its beat unless `operations` is false. @throws TP_OPTION */
export function createOperations<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
  { options, clock, version, status, onLive }: OperationsParts,
): { api: OperationsApi & ControlApi<Native, Middleware>; rules: ActiveRules } {
  const settings = operationsSettings(options)
  // Two instances of one process report separately: they may have other mounts, and end apart.
  const id = ++instances === 1 ? PROCESS_ID : `${PROCESS_ID}.${instances}`
  const control = createRuntimeControl(context, {
    id,
    clock,
    every: settings.every,
    snapshot: settings.snapshot,
  })
  const facts = { id, host: hostname(), pid: process.pid, since: Date.now(), version, status }
  let beat: Beat | undefined
  let live: number | undefined
  const early: RefusedSubject[] = []

  async function run(signal: AbortSignal): Promise<void> {
    // Processes that were started together do not report together, nor all at once.
    let pause = settings.every * (0.5 + Math.random() / 2)
    for (;;) {
      // Rejects when the instance is closed.
      await clock.sleep(pause, signal, true)
      pause = settings.every * (0.9 + Math.random() / 5)
      const { Beat } = await import('./beat.ts')
      if (signal.aborted) return
      await control.compare()
      beat ??= new Beat(context, facts, settings, early.splice(0))
      try {
        const count = await beat.write()
        onLive(count)
        if (count !== live) context.events.emit('process', { live: count, before: live })
        live = count
      } catch (error) {
        if (isUnavailable(error)) continue
        const { BEAT_COMMANDS } = await import('./beat-operations.ts')
        const granted = BEAT_COMMANDS.map((command) => `+${command}`).join(' ')
        context.events.warn(
          `turnpike(): this process no longer reports to Redis: ${(error as Error).message} Grant ${granted}, or set operations: false.`,
        )
        return
      }
    }
  }

  if (options !== false) {
    if (settings.subjects)
      context.events.counts.onRefused = (refused) => {
        if (early.length < MAX_EARLY) early.push(refused)
      }
    const ending = new AbortController()
    const ended = run(ending.signal).catch(() => {})
    context.onClose(async () => {
      ending.abort()
      await ended
      // The process is then reported as lost.
      await beat?.leave().catch(() => {})
    })
  }
  return {
    rules: control.rules,
    api: {
      ...control.api,
      async processes() {
        const { readProcesses } = await import('./processes.ts')
        return await readProcesses(context)
      },
      async systemMetrics() {
        const { readSystemMetrics } = await import('./system-metrics.ts')
        return await readSystemMetrics(context)
      },
    },
  }
}
