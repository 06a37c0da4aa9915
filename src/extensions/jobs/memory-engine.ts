/** The in-process engine: the same jobs without Redis, for development and for tests with a turned clock. */
import { TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { Store } from '../../store/store.ts'
import { nextCronTime } from './bullmq-engine.ts'
import {
  CLOSING,
  isJobFailure,
  type ActiveJob,
  type JobEngineOptions,
  type EngineWorker,
  type EngineWorkOptions,
  type JobEngine,
  type NewFlow,
  type NewJob,
  type NewSchedule,
  type StoredJob,
} from './engine.ts'
import { publicId } from './job-id.ts'
import { MemoryQueue, type MemoryConsumer, type MemoryJob } from './memory-queue.ts'
import type { JobCounts, Schedule } from './job.ts'

/** Queues by store and key: two instances over one store share their jobs, as over one Redis. */
const queues = new WeakMap<Store, Map<string, MemoryQueue>>()

function queueOf(store: Store, key: string, options: JobEngineOptions): MemoryQueue {
  const all = queues.get(store) ?? new Map<string, MemoryQueue>()
  queues.set(store, all)
  const queue = all.get(key) ?? new MemoryQueue(store, options)
  all.set(key, queue)
  return queue
}

/** Jobs of one queue in this process. */
export class MemoryJobEngine implements JobEngine {
  readonly #queue: MemoryQueue
  readonly #store: Store
  readonly #unwatch = new Set<() => void>()

  constructor({ keys, store }: ExtensionContext, options: JobEngineOptions) {
    this.#store = store
    this.#queue = queueOf(store, keys.key('jobs', keys.tag(options.name)), options)
    this.#queue.onScheduledStart = (id) => void this.#addNext(id, true)
  }

  async add(jobs: readonly NewJob[]): Promise<void> {
    this.#check()
    this.#queue.add(jobs)
  }

  async addFlow(flow: NewFlow): Promise<void> {
    this.#check()
    // The parent first, so that a child finds it.
    this.#queue.add(flatten(flow, undefined))
  }

  async schedule(schedule: NewSchedule): Promise<void> {
    this.#check()
    const { id, pattern, everyMs, timeZone } = schedule
    const now = this.#store.now()
    const known = this.#queue.schedules.get(id)
    let nextAt = now
    if (pattern !== undefined) nextAt = await nextCronTime(pattern, timeZone, now)
    else if (known?.everyMs === everyMs && known !== undefined) nextAt = known.nextAt
    if (known) this.#removePending(id)
    this.#queue.schedules.set(id, { ...schedule, nextAt })
    await this.#addNext(id, false)
  }

  async schedules(): Promise<Schedule[]> {
    this.#check()
    return [...this.#queue.schedules.values()].map(
      ({ id, everyMs, job, nextAt, pattern, timeZone }) => ({
        id: publicId(id),
        task: job.task,
        every: pattern ?? everyMs ?? 0,
        timeZone,
        nextAt,
      }),
    )
  }

  async unschedule(id: string): Promise<boolean> {
    this.#check()
    if (!this.#queue.schedules.delete(id)) return false
    this.#removePending(id)
    return true
  }

  async get(id: string): Promise<StoredJob | undefined> {
    this.#check()
    this.#queue.prune()
    const job = this.#queue.jobs.get(id)
    return job && { ...job }
  }

  async remove(id: string): Promise<'removed' | 'active' | 'missing'> {
    this.#check()
    const job = this.#queue.jobs.get(id)
    if (!job) return 'missing'
    const isScheduled = job.scheduleId !== undefined && job.finishedAt === undefined
    if (job.state === 'active' || isScheduled) return 'active'
    for (const child of job.childIds) await this.remove(child)
    this.#queue.delete(job)
    return 'removed'
  }

  async counts(): Promise<JobCounts> {
    this.#check()
    this.#queue.prune()
    const all = [...this.#queue.jobs.values()]
    const count = (state: string): number => all.filter((job) => job.state === state).length
    return {
      waiting: count('waiting'),
      delayed: count('delayed'),
      active: count('active'),
      waitingChildren: count('waiting-children'),
      completed: count('completed'),
      failed: count('failed'),
      priorities: {
        high: this.#queue.waitingCount('high'),
        normal: this.#queue.waitingCount('normal'),
        low: this.#queue.waitingCount('low'),
      },
    }
  }

  async failed(offset: number, limit: number): Promise<StoredJob[]> {
    this.#check()
    const found = this.#queue.deadLetters().slice(offset, offset + limit)
    return found.map((job) => ({ ...job }))
  }

  async retry(id: string): Promise<boolean> {
    this.#check()
    const job = this.#queue.jobs.get(id)
    if (job?.state !== 'failed') return false
    this.#queue.revive(job)
    return true
  }

  async oldestAddedAt(): Promise<number | undefined> {
    this.#check()
    return this.#queue.oldestAddedAt()
  }

  async workers(): Promise<number> {
    return this.#queue.consumers.size
  }

  async work(options: EngineWorkOptions): Promise<EngineWorker> {
    const worker = new MemoryWorker(this.#queue, options)
    this.#queue.consumers.add(worker)
    this.#queue.pump()
    return worker
  }

  watch(id: string, onChange: () => void): () => void {
    const unwatch = this.#queue.watch(id, onChange)
    this.#unwatch.add(unwatch)
    return () => {
      unwatch()
      this.#unwatch.delete(unwatch)
    }
  }

  async board(): Promise<never> {
    throw new TurnpikeError(
      'TP_OPTION',
      'queue.board() needs Redis: bull-board reads the queue from there.',
    )
  }

  async close(): Promise<void> {
    for (const unwatch of this.#unwatch) unwatch()
    if (this.#queue.consumers.size === 0) this.#queue.stop()
  }

  /** @throws TP_UNAVAILABLE as Redis would while it is away */
  #check(): void {
    const unavailable = this.#store.unavailable()
    if (unavailable) throw unavailable
  }

  /** Adds the next job of a schedule. @param isRunning true if its job has just been started */
  async #addNext(id: string, isRunning: boolean): Promise<void> {
    const schedule = this.#queue.schedules.get(id)
    if (schedule === undefined) return
    const now = this.#store.now()
    const { everyMs, job, pattern, timeZone } = schedule
    if (isRunning && everyMs !== undefined)
      schedule.nextAt += everyMs * Math.max(1, Math.ceil((now - schedule.nextAt) / everyMs))
    else if (isRunning) schedule.nextAt = await nextCronTime(pattern!, timeZone, now)
    const { nextAt } = schedule
    this.#queue.add([
      { ...job, id: `repeat:${id}:${nextAt}`, delayMs: Math.max(0, nextAt - now), scheduleId: id },
    ])
  }

  #removePending(scheduleId: string): void {
    for (const job of this.#queue.jobs.values()) {
      const isPending = job.state === 'delayed' || job.state === 'waiting'
      if (job.scheduleId === scheduleId && isPending) this.#queue.delete(job)
    }
  }
}

/** Returns the jobs of a flow, a parent before its children. */
function flatten(
  { children, ...job }: NewFlow,
  parentId: string | undefined,
): (NewJob & Pick<MemoryJob, 'parentId' | 'childIds'>)[] {
  const own = { ...job, parentId, childIds: children.map(({ id }) => id) }
  return [own, ...children.flatMap((child) => flatten(child, job.id))]
}

/** Runs jobs in this process. */
class MemoryWorker implements MemoryConsumer, EngineWorker {
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
