/** The worker of a queue in this process: takes jobs, runs them, reports what becomes of them. */
import { durationOption, durationValidator } from '../../duration.ts'
import { TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import { boolean, integer, optionRuleError, validateOptions } from '../../validate.ts'
import { drainOnSigterm } from './drain.ts'
import {
  CLOSING,
  isJobFailure,
  type ActiveJob,
  type EngineWorker,
  type JobEngine,
} from './engine.ts'
import { runAttempt } from './execution.ts'
import type { JobReports } from './job-reports.ts'
import type { WorkOptions } from './options.ts'
import type { JobTask } from './task.ts'

const MIN_LEASE = 100

/** Runs the jobs of one queue. */
export class QueueWorker {
  readonly #context: ExtensionContext
  readonly #name: string
  readonly #engine: JobEngine
  readonly #tasks: ReadonlyMap<string, JobTask>
  readonly #reports: JobReports
  #starting: Promise<EngineWorker> | undefined
  #closing: Promise<void> | undefined
  /** Fires when jobs in progress have had their time. */
  readonly #deadline = new AbortController()
  #forgetSigterm: () => void = () => {}

  constructor(
    context: ExtensionContext,
    name: string,
    engine: JobEngine,
    tasks: ReadonlyMap<string, JobTask>,
    reports: JobReports,
  ) {
    this.#context = context
    this.#name = name
    this.#engine = engine
    this.#tasks = tasks
    this.#reports = reports
  }

  async start(options: WorkOptions = {}): Promise<void> {
    const where = 'queue.work()'
    validateOptions(where, options, {
      concurrency: integer(1, 10_000),
      lease: durationValidator,
      sigterm: boolean,
      drain: durationValidator,
    })
    if (this.#starting !== undefined)
      throw optionRuleError(where, 'queue', undefined, 'This process works on the queue already.')
    if (![...this.#tasks.values()].some(({ handler }) => handler !== undefined))
      throw optionRuleError(
        where,
        'queue',
        undefined,
        "No task has a handler. Declare one before: queue.define('email.send', handler).",
      )
    if (this.#context.closing.aborted)
      throw new TurnpikeError('TP_UNAVAILABLE', 'queue.work(): the instance is closed.')
    const { concurrency = 1, lease = '30s', sigterm = true, drain = '30s' } = options
    const drainMs = durationOption(drain, where, 'drain', 0)
    this.#starting = this.#engine.work({
      concurrency,
      leaseMs: durationOption(lease, where, 'lease', MIN_LEASE),
      run: (job) => this.#run(job),
      events: {
        onStalled: (id) => this.#reports.report(id, { type: 'stalled' }),
        onDead: (id, task, reason) => this.#reports.report(id, { type: 'failed', task, reason }),
        onError: (error) =>
          this.#context.events.emit('error', { feature: 'jobs', name: this.#name, error }),
      },
    })
    this.#starting.catch(() => (this.#starting = undefined))
    await this.#starting
    this.#context.closing.addEventListener('abort', () => void this.#stop(), { once: true })
    if (sigterm) this.#forgetSigterm = drainOnSigterm(() => this.#drain(drainMs))
  }

  /** Takes no further job, and waits for those in progress until the signal fires. */
  async close(signal: AbortSignal): Promise<void> {
    if (this.#starting === undefined) return
    const abort = (): void => this.#deadline.abort()
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    await this.#stop()
  }

  async #drain(ms: number): Promise<void> {
    const timer = setTimeout(() => this.#deadline.abort(), ms)
    await this.#stop()
    clearTimeout(timer)
  }

  #stop(): Promise<void> {
    this.#closing ??= (async () => {
      this.#forgetSigterm()
      // One that has not begun has nothing to end.
      const worker = await this.#starting?.catch(() => undefined)
      await worker?.close(this.#deadline.signal)
    })()
    return this.#closing
  }

  async #run(job: ActiveJob): Promise<unknown> {
    const { store, events } = this.#context
    const { attempt, id, task } = job
    const about = { task, tenant: job.data.tenant, attempt }
    const startedAt = store.monotonic()
    const durationMs = (): number => Math.round(store.monotonic() - startedAt)
    this.#reports.report(id, { type: 'started', ...about })
    try {
      const result = await runAttempt(job, this.#tasks.get(task), {
        store,
        warn: (message) => events.warn(message),
      })
      this.#reports.report(id, { type: 'completed', ...about, durationMs: durationMs() })
      return result
    } catch (error) {
      if (error === CLOSING || !isJobFailure(error)) throw error
      const type = error.retryInMs === undefined ? 'failed' : 'retrying'
      this.#reports.report(id, { type, ...about, durationMs: durationMs(), reason: error.message })
      throw error
    }
  }
}
