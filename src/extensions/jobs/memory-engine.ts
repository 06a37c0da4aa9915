/** The in-process engine: the same jobs without Redis, for development and for tests with a turned clock. */
import { TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { Store } from '../../store/store.ts'
import { MAX_SCHEDULES, queueFull, schedulesFull } from './capacity.ts'
import {
  jobsOfFlow,
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
import { nextCronTime } from './cron.ts'
import { MemoryQueue, type MemoryJob } from './memory-queue.ts'
import { MemoryWorker } from './memory-worker.ts'
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
  readonly #options: JobEngineOptions
  readonly #unwatch = new Set<() => void>()

  constructor({ keys, store }: ExtensionContext, options: JobEngineOptions) {
    this.#store = store
    this.#options = options
    this.#queue = queueOf(store, keys.key('jobs', keys.tag(options.name)), options)
    this.#queue.onScheduledStart = (id) => void this.#addNext(id, true)
  }

  async add(jobs: readonly NewJob[]): Promise<void> {
    this.#check()
    this.#checkRoom(jobs)
    this.#queue.add(jobs)
  }

  async addFlow(flow: NewFlow): Promise<void> {
    this.#check()
    if (this.#queue.jobs.has(flow.id)) return
    this.#checkRoom(jobsOfFlow(flow))
    // The parent first, so that a child finds it.
    this.#queue.add(flatten(flow, undefined))
  }

  async schedule(schedule: NewSchedule): Promise<void> {
    this.#check()
    const { id, pattern, everyMs, timeZone } = schedule
    const now = this.#store.now()
    const known = this.#queue.schedules.get(id)
    if (!known && this.#queue.schedules.size >= MAX_SCHEDULES)
      throw schedulesFull(this.#options.name)
    let nextAt = now
    if (pattern !== undefined) nextAt = await nextCronTime(pattern, timeZone, now)
    else if (known?.everyMs === everyMs && known !== undefined) nextAt = known.nextAt
    if (known) this.#removePending(id)
    this.#queue.schedules.set(id, { ...schedule, nextAt })
    await this.#addNext(id, false)
  }

  async schedules(offset: number, limit: number): Promise<Schedule[]> {
    this.#check()
    return [...this.#queue.schedules.values()]
      .slice(offset, offset + limit)
      .map(({ id, everyMs, job, nextAt, pattern, timeZone }) => ({
        id: publicId(id),
        task: job.task,
        every: pattern ?? everyMs ?? 0,
        timeZone,
        nextAt,
      }))
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

  /** @throws TP_QUEUE_FULL */
  #checkRoom(jobs: readonly NewJob[]): void {
    const { maxJobs, name, warn } = this.#options
    if (this.#queue.unfinishedCount() + jobs.length <= maxJobs) return
    // A repeated addition must find its job, also if that one has filled the queue.
    if (jobs.every(({ id }) => this.#queue.jobs.has(id))) return
    const error = queueFull(name, maxJobs)
    warn(error.message)
    throw error
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
