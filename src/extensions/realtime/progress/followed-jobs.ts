/** Progress of jobs: handlers whose steps and reports change a progress. */
import { isUnavailable } from '../../../errors.ts'
import type { ExtensionContext } from '../../../extension.ts'
import type { FollowedJob, Progress, ProgressChangeOptions } from './options.ts'

/** Returns the progress of a job. */
type ProgressOf = (job: Pick<FollowedJob, 'id' | 'tenant'>, total: number | undefined) => Progress

/** What an instance with jobs reports of them. */
interface JobReport {
  readonly type: string
  readonly id: string
  readonly tenant: string | undefined
  readonly reason: string | undefined
}

type Change = (progress: Progress) => Promise<unknown>

/** Jobs whose last change is remembered. Beyond them the oldest is forgotten: it does not end. */
const MAX_JOBS = 10_000

export class FollowedJobs {
  readonly #context: ExtensionContext
  readonly #progressOf: ProgressOf
  /** Jobs that run in this process: the end of the last change of each. */
  readonly #running = new Map<string, Promise<void>>()
  #isListening = false

  constructor(context: ExtensionContext, progressOf: ProgressOf) {
    this.#context = context
    this.#progressOf = progressOf
  }

  /** Returns a handler that also changes the progress of its job. */
  follow<Payload, Job extends FollowedJob, Result>(
    handler: (payload: Payload, job: Job) => Result,
    total: number | undefined,
  ): (payload: Payload, job: Job) => Promise<Awaited<Result>> {
    this.#listen()
    return async (payload, job): Promise<Awaited<Result>> => {
      const progress = this.#progressOf(job, total)
      const change = (call: Change): void => this.#change(job, progress, call)
      // Another attempt begins again: its steps are counted from the first.
      change((own) => own.start())
      const followed: Job = {
        ...job,
        async step<Value>(name: string, work: () => Value | Promise<Value>): Promise<Value> {
          const result = await job.step(name, work)
          change((own) => own.step(name))
          return result
        },
        async progress(value: unknown): Promise<void> {
          const reported = changeOf(value)
          if (reported) change((own) => own.set(reported.percent, reported.options))
          await job.progress(value)
        },
      }
      try {
        return await handler(payload, followed)
      } finally {
        await this.#running.get(keyOf(job))
      }
    }
  }

  /** The queue reports the end of a job. A handler does not know whether another attempt follows. */
  #listen(): void {
    if (this.#isListening) return
    this.#isListening = true
    this.#context.events.on('job' as never, (report: JobReport) => {
      const isRunning = this.#running.has(keyOf(report))
      if (report.type === 'completed' && isRunning) this.#end(report, (own) => own.done())
      else if (report.type === 'retrying') this.#running.delete(keyOf(report))
      else if (report.type === 'failed') this.#fail(report, isRunning)
    })
  }

  #fail(report: JobReport, isRunning: boolean): void {
    this.#end(report, async (own) => {
      // The worker of a job that is given up has died: only its progress shows that it was followed.
      if (isRunning || (await own.get())?.status === 'running') await own.fail()
    })
  }

  #end(report: JobReport, call: Change): void {
    this.#change(report, this.#progressOf(report, undefined), call)
    const key = keyOf(report)
    const last = this.#running.get(key)
    void last?.then(() => {
      if (this.#running.get(key) === last) this.#running.delete(key)
    })
  }

  /** Changes a progress after its changes before. A change that is lost fails no job. */
  #change(job: Pick<FollowedJob, 'id' | 'tenant'>, progress: Progress, call: Change): void {
    const key = keyOf(job)
    const before = this.#running.get(key) ?? Promise.resolve()
    const change = before.then(async () => {
      try {
        await call(progress)
      } catch (error) {
        if (!isUnavailable(error))
          this.#context.events.emit('error', { feature: 'progress', name: job.id, error })
      }
    })
    this.#running.set(key, change)
    if (this.#running.size > MAX_JOBS) this.#running.delete(this.#running.keys().next().value!)
  }
}

const keyOf = ({ id, tenant }: Pick<FollowedJob, 'id' | 'tenant'>): string =>
  JSON.stringify([tenant, id])

/** Returns what a job reports: a percentage, or an object with one. Undefined for anything else. */
function changeOf(value: unknown): { percent: number; options: ProgressChangeOptions } | undefined {
  const { percent, cost, step } = (
    typeof value === 'object' && value !== null ? value : { percent: value }
  ) as { percent?: unknown; cost?: number; step?: string }
  if (typeof percent !== 'number' || Number.isNaN(percent)) return undefined
  return {
    percent: Math.min(100, Math.max(0, percent)),
    options: { ...(cost !== undefined && { cost }), ...(step !== undefined && { step }) },
  }
}
