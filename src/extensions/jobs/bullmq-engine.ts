/** The engine over BullMQ: jobs are in Redis, and any process may run them. */
import type { FlowJob } from 'bullmq'
import { isUnavailable, type ExtensionContext } from '../../extension.ts'
import { JobCapacity, MAX_SCHEDULES, queueFull, schedulesFull } from './capacity.ts'
import {
  BullmqConnection,
  loadBullmq,
  type OpenQueue,
  type RedisCaller,
} from './bullmq-connection.ts'
import { JobChanges } from './bullmq-changes.ts'
import {
  bullmqOptions,
  findJob,
  PRIORITIES,
  readJob,
  removeJob,
  sharedOptions,
  UNREADABLE,
} from './bullmq-job.ts'
import { startBullmqWorker } from './bullmq-worker.ts'
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
import { checkCron } from './cron.ts'
import { publicId } from './job-id.ts'
import type { JobCounts, Schedule } from './job.ts'

/** BullMQ scores a prioritized job by its priority, shifted by 32 bits, and a counter. */
const PRIORITY_SHIFT = 2 ** 32

/** The states in which BullMQ keeps jobs that have not finished. */
const UNFINISHED = ['wait', 'prioritized', 'delayed', 'active', 'waiting-children'] as const

/** How soon a worker that cannot begin tries again, in ms. */
const RETRY = 200

/** Jobs of one queue in Redis. */
export class BullmqEngine implements JobEngine {
  readonly #options: JobEngineOptions
  readonly #connection: BullmqConnection
  readonly #changes: JobChanges
  readonly #context: ExtensionContext
  readonly #capacity: JobCapacity

  constructor(context: ExtensionContext, options: JobEngineOptions) {
    this.#context = context
    this.#options = options
    this.#capacity = new JobCapacity(options.maxJobs)
    this.#connection = new BullmqConnection(context, options.name)
    this.#changes = new JobChanges(this.#connection, () => context.store.now())
    // Load and connect now. The first request would wait longer than its deadline.
    this.#connection.open().catch((error: Error) => options.warn(error.message))
  }

  async add(jobs: readonly NewJob[]): Promise<void> {
    const { keep } = this.#options
    const entries = jobs.map((job) => ({
      name: job.task,
      data: job.data,
      opts: bullmqOptions(job, keep),
    }))
    await this.#connection.call('jobs.add', async (open) => {
      const { queue } = open
      if (!(await this.#takeRoom(open, jobs.length))) {
        // A repeated addition must find its job, also if that one has filled the queue.
        if (await areKept(open, jobs)) return
        throw this.#full()
      }
      const [{ name, data, opts }, ...others] = entries as [(typeof entries)[0]]
      if (others.length > 0) await queue.addBulk(entries)
      else await queue.add(name, data, opts)
    })
  }

  async addFlow(flow: NewFlow): Promise<void> {
    const flowJob = this.#flowJob(flow)
    const count = jobsOfFlow(flow).length
    await this.#connection.call('jobs.flow', async (open) => {
      // BullMQ would add the children of a repeated flow again.
      if (await areKept(open, [flow])) return
      if (!(await this.#takeRoom(open, count))) throw this.#full()
      await open.flows.add(flowJob)
    })
  }

  async schedule({ id, pattern, everyMs, timeZone, job }: NewSchedule): Promise<void> {
    if (pattern !== undefined) await checkCron(pattern, timeZone)
    const repeat =
      pattern === undefined
        ? { every: everyMs! }
        : { pattern, ...(timeZone !== undefined && { tz: timeZone }) }
    const opts = sharedOptions(job, this.#options.keep)
    await this.#connection.call('jobs.schedule', async ({ queue }) => {
      const isFull = (await queue.getJobSchedulersCount()) >= MAX_SCHEDULES
      if (isFull && (await queue.getJobScheduler(id)) === undefined)
        throw schedulesFull(this.#options.name)
      try {
        await queue.upsertJobScheduler(id, repeat, { name: job.task, data: job.data, opts })
      } catch (error) {
        // The job of this very moment exists: another process has declared the schedule.
        if (!/already exists|slots/i.test((error as Error).message)) throw error
      }
    })
  }

  async schedules(offset: number, limit: number): Promise<Schedule[]> {
    const found = await this.#connection.call('jobs.schedules', ({ queue }) =>
      queue.getJobSchedulers(offset, offset + limit - 1, true),
    )
    return found.map(({ key, name, every, pattern, tz, next }) => ({
      id: publicId(key),
      task: name,
      every: pattern ?? every ?? 0,
      timeZone: tz,
      nextAt: next,
    }))
  }

  unschedule(id: string): Promise<boolean> {
    return this.#connection.call('jobs.unschedule', ({ queue }) => queue.removeJobScheduler(id))
  }

  get(id: string): Promise<StoredJob | undefined> {
    return this.#connection.call('jobs.get', ({ queue }) => readJob(queue, id))
  }

  remove(id: string): Promise<'removed' | 'active' | 'missing'> {
    return this.#connection.call('jobs.remove', ({ queue }) => removeJob(queue, id))
  }

  counts(): Promise<JobCounts> {
    return this.#connection.call('jobs.counts', async ({ queue }) => {
      const { high, normal, low } = PRIORITIES
      const [all, priorities] = await Promise.all([
        queue.getJobCounts(),
        queue.getCountsPerPriority([high, normal, low]),
      ])
      const count = (state: string): number => all[state] ?? 0
      return {
        waiting: count('waiting') + count('prioritized') + count('paused'),
        delayed: count('delayed'),
        active: count('active'),
        waitingChildren: count('waiting-children'),
        completed: count('completed'),
        failed: count('failed'),
        priorities: {
          high: priorities[high] ?? 0,
          normal: priorities[normal] ?? 0,
          low: priorities[low] ?? 0,
        },
      }
    })
  }

  failed(offset: number, limit: number): Promise<StoredJob[]> {
    return this.#connection.call('jobs.failed', async ({ queue }) => {
      const ids = await queue.getRanges(['failed'], offset, offset + limit - 1, false)
      const jobs = await Promise.all(ids.map((id) => readJob(queue, id)))
      return jobs.flatMap((job) => job ?? [])
    })
  }

  retry(id: string): Promise<boolean> {
    return this.#connection.call('jobs.retry', async ({ queue, client }) => {
      if ((await queue.getJobState(id)) !== 'failed') return false
      const job = await findJob(queue, id)
      if (job === undefined || job === UNREADABLE) return false
      // The parent runs without its failed children. BullMQ would refuse to complete it.
      await (client as unknown as RedisCaller).call('DEL', `${queue.toKey(id)}:unsuccessful`)
      await job.retry('failed', { resetAttemptsMade: true, resetAttemptsStarted: true })
      this.#capacity.noteRetried()
      return true
    })
  }

  oldestAddedAt(): Promise<number | undefined> {
    return this.#connection.call('jobs.oldest', async ({ queue, client }) => {
      const redis = client as unknown as RedisCaller
      const first = async (priority: number): Promise<unknown> => {
        const range = [priority * PRIORITY_SHIFT, '+inf', 'LIMIT', 0, 1]
        const ids = await redis.call('ZRANGEBYSCORE', queue.toKey('prioritized'), ...range)
        return (ids as unknown[])[0]
      }
      const ids = await Promise.all([
        redis.call('LINDEX', queue.toKey('wait'), -1),
        first(PRIORITIES.normal),
        first(PRIORITIES.low),
      ])
      const times = await Promise.all(
        ids.map(async (id) =>
          typeof id === 'string' ? redis.call('HGET', queue.toKey(id), 'timestamp') : undefined,
        ),
      )
      const known = times.map(Number).filter((time) => time > 0)
      return known.length > 0 ? Math.min(...known) : undefined
    })
  }

  async workers(): Promise<number | undefined> {
    try {
      return await this.#connection.call('jobs.workers', ({ queue }) => queue.getWorkersCount())
    } catch {
      // Managed services and strict permissions refuse CLIENT LIST.
      return undefined
    }
  }

  async work(options: EngineWorkOptions): Promise<EngineWorker> {
    const bullmq = await loadBullmq()
    const { closing, store } = this.#context
    // A worker may be started before Redis, or before a connection is established.
    for (;;) {
      try {
        await this.#connection.call('jobs.limits', (open) => this.#setLimits(open))
        return await startBullmqWorker(bullmq, this.#connection, options, closing)
      } catch (error) {
        if (!isUnavailable(error) || closing.aborted) throw error
        // Closing ends the pause, and then the loop.
        await store.sleep(RETRY, closing).catch(() => {})
      }
    }
  }

  watch(id: string, onChange: () => void): () => void {
    return this.#changes.watch(id, onChange)
  }

  board(): Promise<unknown> {
    return this.#connection
      .call('jobs.board', ({ queue }) => Promise.resolve({ queue }))
      .then(({ queue }) => queue)
  }

  async close(): Promise<void> {
    await this.#changes.close()
    await this.#connection.close()
  }

  async #setLimits({ queue }: OpenQueue): Promise<void> {
    const { concurrency, rate } = this.#options.limits
    await Promise.all([
      concurrency === undefined
        ? queue.removeGlobalConcurrency()
        : queue.setGlobalConcurrency(concurrency),
      rate === undefined
        ? queue.removeGlobalRateLimit()
        : queue.setGlobalRateLimit(rate.limit, rate.windowMs),
    ])
  }

  #takeRoom({ queue }: OpenQueue, jobs: number): Promise<boolean> {
    return this.#capacity.take(jobs, async () => {
      const counts = await queue.getJobCounts(...UNFINISHED)
      return Object.values(counts).reduce((sum, count) => sum + count, 0)
    })
  }

  #full(): Error {
    const { maxJobs, name, warn } = this.#options
    const error = queueFull(name, maxJobs)
    warn(error.message)
    return error
  }

  #flowJob(flow: NewFlow): FlowJob {
    const { children, task, data } = flow
    return {
      name: task,
      queueName: this.#options.name,
      // BullMQ returns the results of children in no order.
      data: children.length > 0 ? { ...data, children: children.map(({ id }) => id) } : data,
      opts: { ...bullmqOptions(flow, this.#options.keep), failParentOnFailure: true },
      children: children.map((child) => this.#flowJob(child)),
    }
  }
}

/** Returns true if the queue has all these jobs. */
async function areKept({ queue }: OpenQueue, jobs: readonly NewJob[]): Promise<boolean> {
  const found = await Promise.all(jobs.map(({ id }) => queue.getJobState(id)))
  return found.every((state) => state !== 'unknown')
}
