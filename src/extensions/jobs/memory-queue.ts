/** Jobs of one queue in this process: what Redis and BullMQ keep, over the store's clock. */
import type { Store } from '../../store/store.ts'
import type { JobEngineOptions, JobData, NewJob, NewSchedule } from './engine.ts'
import type { JobPriority, JobProgress, JobState } from './job.ts'

/** How soon a queue looks again after its store could not be used, in ms. */
const RECHECK = 1000

/** A job and what becomes of it. */
export interface MemoryJob {
  readonly id: string
  readonly task: string
  readonly priority: JobPriority
  readonly maxAttempts: number
  readonly addedAt: number
  readonly scheduleId: string | undefined
  parentId: string | undefined
  readonly childIds: readonly string[]
  /** Children that have not completed. */
  readonly pending: Set<string>
  data: JobData
  state: JobState
  runAt: number
  attempts: number
  progress: JobProgress
  result: unknown
  reason: string | undefined
  stack: string | undefined
  startedAt: number | undefined
  finishedAt: number | undefined
}

/** A repeated job. */
export interface MemorySchedule extends NewSchedule {
  nextAt: number
}

/** What takes jobs. */
export interface MemoryConsumer {
  hasRoom(): boolean
  start(job: MemoryJob): void
}

const BY_URGENCY: readonly JobPriority[] = ['high', 'normal', 'low']

/** The state of one queue. All instances over one store share it. */
export class MemoryQueue {
  readonly jobs: Map<string, MemoryJob> = new Map()
  readonly schedules: Map<string, MemorySchedule> = new Map()
  readonly consumers: Set<MemoryConsumer> = new Set()
  readonly store: Store
  readonly #options: JobEngineOptions
  readonly #waiting: Readonly<Record<JobPriority, Set<MemoryJob>>> = {
    high: new Set(),
    normal: new Set(),
    low: new Set(),
  }
  readonly #delayed = new Set<MemoryJob>()
  readonly #finished = { completed: new Set<MemoryJob>(), failed: new Set<MemoryJob>() }
  readonly #watchers = new Map<string, Set<() => void>>()
  #active = 0
  /** When jobs were started, within the window of the rate limit. */
  #starts: number[] = []
  #alarm: AbortController | undefined
  /** Called when a job of a schedule is started: the next one is due. */
  onScheduledStart: ((scheduleId: string) => void) | undefined

  constructor(store: Store, options: JobEngineOptions) {
    this.store = store
    this.#options = options
  }

  /** Adds jobs together. */
  add(
    jobs: readonly (NewJob & Partial<Pick<MemoryJob, 'parentId' | 'childIds' | 'scheduleId'>>)[],
  ): void {
    const now = this.store.now()
    for (const job of jobs) {
      const known = this.jobs.get(job.id)
      if (known !== undefined) {
        this.#adopt(known, job.parentId)
        continue
      }
      const { childIds = [] } = job
      const added: MemoryJob = {
        id: job.id,
        task: job.task,
        priority: job.priority,
        maxAttempts: job.attempts,
        addedAt: now,
        scheduleId: job.scheduleId,
        parentId: job.parentId,
        childIds,
        pending: new Set(childIds),
        data: job.data,
        state: 'waiting-children',
        runAt: now + job.delayMs,
        attempts: 0,
        progress: 0,
        result: undefined,
        reason: undefined,
        stack: undefined,
        startedAt: undefined,
        finishedAt: undefined,
      }
      this.jobs.set(added.id, added)
      if (childIds.length === 0) this.enqueue(added)
    }
    // The caller learns that its job is queued before the job runs.
    setImmediate(() => this.pump())
  }

  /** Lets a parent wait for a job that exists already. */
  #adopt(job: MemoryJob, parentId = ''): void {
    const parent = this.jobs.get(parentId)
    if (parent && job.state === 'completed') this.#childEnded(parent, job)
    else if (parent) job.parentId ??= parentId
  }

  /** Lets a parent run when no child is left. */
  #childEnded(parent: MemoryJob | undefined, child: MemoryJob): void {
    parent?.pending.delete(child.id)
    if (parent?.state === 'waiting-children' && parent.pending.size === 0) this.enqueue(parent)
  }

  unfinishedCount(): number {
    return this.jobs.size - this.#finished.completed.size - this.#finished.failed.size
  }

  /** Lets a job run at its time. */
  enqueue(job: MemoryJob): void {
    const isDelayed = job.runAt > this.store.now()
    job.state = isDelayed ? 'delayed' : 'waiting'
    if (isDelayed) this.#delayed.add(job)
    else this.#waiting[job.priority].add(job)
    this.changed(job)
  }

  /** Starts what may run now, and sets the alarm for what may run next. */
  pump(): void {
    this.#alarm?.abort()
    this.#alarm = undefined
    const now = this.store.now()
    const isAway = this.store.unavailable() !== undefined
    for (const job of this.#delayed) {
      if (job.runAt > now) continue
      this.#delayed.delete(job)
      this.enqueue(job)
    }
    while (!isAway) {
      const job = this.#next()
      const consumer = job && this.#canStart(now) && this.#consumer()
      if (!consumer) break
      this.#start(job, consumer, now)
    }
    this.#setAlarm(now, isAway)
  }

  /** Ends an attempt or a job. */
  finish(job: MemoryJob, state: 'completed' | 'failed' | 'delayed' | 'waiting'): void {
    this.#active--
    if (state === 'completed' || state === 'failed') this.#settle(job, state)
    else this.enqueue(job)
    this.pump()
  }

  /** Removes a job, wherever it is. */
  delete(job: MemoryJob): void {
    this.jobs.delete(job.id)
    this.#delayed.delete(job)
    this.#waiting[job.priority].delete(job)
    this.#finished.completed.delete(job)
    this.#finished.failed.delete(job)
    this.changed(job)
    // A parent must not wait for a child that is gone.
    this.#childEnded(this.jobs.get(job.parentId ?? ''), job)
  }

  /** Moves a dead letter back, with all its attempts. */
  revive(job: MemoryJob): void {
    this.#finished.failed.delete(job)
    Object.assign(job, { attempts: 0, runAt: 0, reason: undefined, stack: undefined })
    job.finishedAt = undefined
    this.enqueue(job)
    this.pump()
  }

  /** Returns dead letters, the last ones first. */
  deadLetters(): MemoryJob[] {
    this.prune()
    return [...this.#finished.failed].toReversed()
  }

  /** Number of waiting jobs. */
  waitingCount(priority: JobPriority): number {
    return this.#waiting[priority].size
  }

  /** When the oldest waiting job was added. */
  oldestAddedAt(): number | undefined {
    const firsts = BY_URGENCY.flatMap((priority) => {
      const [first] = this.#waiting[priority]
      return first ? [first.addedAt] : []
    })
    return firsts.length > 0 ? Math.min(...firsts) : undefined
  }

  watch(id: string, onChange: () => void): () => void {
    const all = this.#watchers.get(id) ?? new Set()
    this.#watchers.set(id, all.add(onChange))
    return () => {
      all.delete(onChange)
      if (all.size === 0) this.#watchers.delete(id)
    }
  }

  changed({ id }: MemoryJob): void {
    for (const listener of this.#watchers.get(id) ?? []) listener()
  }

  /** Forgets finished jobs that are too old or too many. */
  prune(): void {
    const now = this.store.now()
    for (const state of ['completed', 'failed'] as const) {
      const { ageMs, count } = this.#options.keep[state]
      const all = this.#finished[state]
      for (const job of all) {
        if (all.size <= count && job.finishedAt! > now - ageMs) break
        this.delete(job)
      }
    }
  }

  /** Ends the alarm. */
  stop(): void {
    this.#alarm?.abort()
  }

  #next(): MemoryJob | undefined {
    for (const priority of BY_URGENCY) {
      const [first] = this.#waiting[priority]
      if (first) return first
    }
    return undefined
  }

  #consumer(): MemoryConsumer | undefined {
    return [...this.consumers].find((consumer) => consumer.hasRoom())
  }

  #canStart(now: number): boolean {
    const { concurrency, rate } = this.#options.limits
    if (concurrency !== undefined && this.#active >= concurrency) return false
    if (rate === undefined) return true
    this.#starts = this.#starts.filter((time) => time > now - rate.windowMs)
    return this.#starts.length < rate.limit
  }

  #start(job: MemoryJob, consumer: MemoryConsumer, now: number): void {
    this.#waiting[job.priority].delete(job)
    job.state = 'active'
    job.startedAt = now
    this.#active++
    if (this.#options.limits.rate !== undefined) this.#starts.push(now)
    if (job.scheduleId !== undefined) this.onScheduledStart?.(job.scheduleId)
    this.changed(job)
    consumer.start(job)
  }

  #settle(job: MemoryJob, state: 'completed' | 'failed'): void {
    job.state = state
    job.finishedAt = this.store.now()
    this.#finished[state].add(job)
    this.prune()
    this.changed(job)
    const parent = job.parentId === undefined ? undefined : this.jobs.get(job.parentId)
    if (parent?.state !== 'waiting-children') return
    if (state === 'failed') {
      parent.reason = `child ${job.id} failed`
      return this.#settle(parent, 'failed')
    }
    this.#childEnded(parent, job)
  }

  #setAlarm(now: number, isAway: boolean): void {
    const times = [...this.#delayed].map(({ runAt }) => runAt)
    const { rate } = this.#options.limits
    if (rate !== undefined && this.#next())
      times.push(...this.#starts.slice(0, 1).map((time) => time + rate.windowMs))
    if (isAway) times.push(now + RECHECK)
    if (times.length === 0) return
    const next = times.reduce((least, time) => Math.min(least, time), Infinity)
    this.#alarm = new AbortController()
    const ms = Math.max(1, next - now)
    this.store.sleep(ms, this.#alarm.signal, this.consumers.size === 0).then(
      () => this.pump(),
      () => {},
    )
  }
}
