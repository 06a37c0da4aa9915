/** What happens to jobs in this process, as counts and as events. */
import type { EventBus } from '../../events.ts'
import { publicId } from './job-id.ts'
import type { JobEvent, QueueHealth } from './job.ts'
import type { JobTask } from './task.ts'

/** What is known besides which job it is about. */
export interface JobReport {
  readonly type: JobEvent['type']
  readonly task?: string
  readonly tenant?: string | undefined
  readonly attempt?: number
  readonly durationMs?: number
  readonly reason?: string
}

/** Counts and reports what happens to the jobs of one queue. */
export class JobReports {
  readonly #events: EventBus
  readonly #queue: string
  readonly #tasks: ReadonlyMap<string, JobTask>

  constructor(events: EventBus, queue: string, tasks: ReadonlyMap<string, JobTask>) {
    this.#events = events
    this.#queue = queue
    this.#tasks = tasks
  }

  /** Counts and emits one event. @param id as the engine stores it */
  report(id: string, { type, task, tenant, attempt, durationMs, reason }: JobReport): void {
    const { counts } = this.#events
    const name = this.#nameOf(task)
    counts.row('job', name).count(type)
    if (durationMs !== undefined) counts.durations('job', name).add(durationMs)
    if (!this.#events.hasListeners('job')) return
    this.#events.emit('job', {
      queue: this.#queue,
      type,
      id: publicId(id),
      task,
      tenant,
      attempt,
      durationMs,
      reason,
    })
  }

  /** Notes the backlog for the metrics, which ask Redis for nothing. */
  noteHealth({ backlog, oldestMs }: QueueHealth): void {
    const { values } = this.#events.counts.row('jobBacklog', this.#queue)
    values[0] = backlog ?? values[0]!
    values[1] = oldestMs ?? values[1]!
  }

  /** Names of tasks come from code. What another program has put into Redis is no label. */
  #nameOf(task: string | undefined): string {
    return `${this.#queue}\n${task !== undefined && this.#tasks.has(task) ? task : 'other'}`
  }
}
