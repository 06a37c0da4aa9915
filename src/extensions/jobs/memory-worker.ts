/** A worker of the in-process engine. */
import {
  CLOSING,
  isJobFailure,
  type ActiveJob,
  type EngineWorker,
  type EngineWorkOptions,
} from './engine.ts'
import type { MemoryConsumer, MemoryJob, MemoryQueue } from './memory-queue.ts'

/** Runs jobs in this process. */
export class MemoryWorker implements MemoryConsumer, EngineWorker {
  readonly #queue: MemoryQueue
  readonly #options: EngineWorkOptions
  readonly #running = new Map<MemoryJob, { controller: AbortController; ended: Promise<void> }>()

  constructor(queue: MemoryQueue, options: EngineWorkOptions) {
    this.#queue = queue
    this.#options = options
  }

  hasRoom(): boolean {
    return this.#running.size < this.#options.concurrency
  }

  start(job: MemoryJob): void {
    const controller = new AbortController()
    const ended = this.#run(job, controller.signal)
    this.#running.set(job, { controller, ended })
  }

  async close(signal: AbortSignal): Promise<void> {
    this.#queue.consumers.delete(this)
    const abort = (): void => {
      for (const { controller } of this.#running.values()) controller.abort(CLOSING)
    }
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    await Promise.all([...this.#running.values()].map(({ ended }) => ended))
  }

  async #run(job: MemoryJob, signal: AbortSignal): Promise<void> {
    const queue = this.#queue
    // A consumer that has started a job must have counted it before the job can end.
    await Promise.resolve()
    let state: 'completed' | 'failed' | 'delayed' | 'waiting' = 'completed'
    try {
      job.result = await this.#options.run(activeJob(queue, job, signal))
      job.attempts++
    } catch (error) {
      state = error === CLOSING ? 'waiting' : this.#fail(job, error)
    }
    this.#running.delete(job)
    queue.finish(job, state)
  }

  #fail(job: MemoryJob, error: unknown): 'failed' | 'delayed' {
    job.attempts++
    job.reason = (error as Error).message
    job.stack = (error as Error).stack
    const pause = isJobFailure(error) ? error.retryInMs : undefined
    job.runAt = this.#queue.store.now() + (pause ?? 0)
    return pause === undefined ? 'failed' : 'delayed'
  }
}

function activeJob(queue: MemoryQueue, job: MemoryJob, signal: AbortSignal): ActiveJob {
  return {
    id: job.id,
    task: job.task,
    data: job.data,
    attempt: job.attempts + 1,
    attempts: job.maxAttempts,
    signal,
    async saveData(data) {
      job.data = data
    },
    async setProgress(progress) {
      job.progress = progress
      queue.changed(job)
    },
    childResults: async () => job.childIds.map((id) => queue.jobs.get(id)?.result),
  }
}
