/** A queue: what `jobs()` returns, over either engine. */
import { TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import { requireTenant } from '../../store/subject.ts'
import {
  callback,
  integer,
  isFunction,
  isObject,
  nonEmptyString,
  optionError,
  optionRuleError,
  validateOptions,
} from '../../validate.ts'
import { acceptFeature } from './accept.ts'
import type { JobEngine, NewJob, StoredJob } from './engine.ts'
import { ADD_OPTIONS, isSchedule, JobFactory, MAX_BATCH } from './job-factory.ts'
import { checkJobId, publicId, storedId } from './job-id.ts'
import { JobReports } from './job-reports.ts'
import type { AddedJob, Job, JobCounts, QueueHealth } from './job.ts'
import type {
  AddOptions,
  BatchEntry,
  FlowEntry,
  JobCallOptions,
  JobHandler,
  JobQueue,
  ScheduleOptions,
  TaskOptions,
  WorkOptions,
} from './options.ts'
import { JobRouter } from './router.ts'
import { JobTask, taskNameValidator } from './task.ts'
import { QueueWorker } from './worker.ts'

/** Settings of a queue, validated. */
export interface QueueSettings {
  readonly name: string
  readonly path: string
}

const CALL_OPTIONS = { tenant: nonEmptyString }

/** Creates the members of a queue. */
export function createQueue<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
  settings: QueueSettings,
  engine: JobEngine,
): JobQueue<Native, Middleware> {
  return new EngineQueue(context, settings, engine)
}

class EngineQueue<Native, Middleware> implements JobQueue<Native, Middleware> {
  readonly name: string
  readonly path: string
  readonly schedules: JobQueue<Native, Middleware>['schedules']
  readonly failed: JobQueue<Native, Middleware>['failed']
  readonly #context: ExtensionContext<Native, Middleware>
  readonly #engine: JobEngine
  readonly #tasks = new Map<string, JobTask>()
  readonly #factory: JobFactory
  readonly #worker: QueueWorker
  readonly #reports: JobReports

  constructor(
    context: ExtensionContext<Native, Middleware>,
    { name, path }: QueueSettings,
    engine: JobEngine,
  ) {
    this.name = name
    this.path = path
    this.#context = context
    this.#engine = engine
    this.#factory = new JobFactory(context, this.#tasks)
    this.#reports = new JobReports(context.events, name, this.#tasks)
    this.#worker = new QueueWorker(context, name, engine, this.#tasks, this.#reports)
    this.schedules = {
      list: async (options = {}) => {
        const { offset, limit } = pageOf(options, 'queue.schedules.list()', MAX_BATCH)
        return engine.schedules(offset, limit)
      },
      remove: async (id, options) =>
        engine.unschedule(this.#storedId(id, options, 'schedules.remove')),
    }
    this.failed = {
      list: (options = {}) => this.#deadLetters(options),
      retry: async (id, options) => engine.retry(this.#storedId(id, options, 'failed.retry')),
      drop: async (id, options) => this.#drop(this.#storedId(id, options, 'failed.drop')),
    }
    context.onClose((signal) => this.#worker.close(signal))
    context.onClose(() => engine.close(), 'last')
  }

  define(name: string, given: TaskOptions<any> | JobHandler, handler?: JobHandler): void {
    const where = 'queue.define()'
    if (!taskNameValidator.accepts(name))
      throw optionError(where, 'task', name, taskNameValidator.expected)
    if (this.#tasks.has(name))
      throw optionError(where, 'task', name, 'the name of one task; it is declared already')
    const task = isFunction(given)
      ? new JobTask(name, {}, given)
      : new JobTask(name, given, handler)
    this.#tasks.set(name, task)
  }

  async add(
    task: string,
    payload?: unknown,
    options: AddOptions | ScheduleOptions = {},
  ): Promise<AddedJob> {
    if (isSchedule(options)) {
      const schedule = await this.#factory.schedule(task, payload, options)
      await this.#engine.schedule(schedule)
      return { id: publicId(schedule.id), task }
    }
    const job = await this.#factory.job(task, payload, options, 'queue.add()')
    await this.#engine.add([job])
    return this.#added(job)
  }

  async addMany(entries: readonly BatchEntry[]): Promise<AddedJob[]> {
    const where = 'queue.addMany()'
    if (!Array.isArray(entries) || entries.length > MAX_BATCH)
      throw optionError(where, 'entries', entries, `a list of up to ${MAX_BATCH} jobs`)
    if (entries.length === 0) return []
    const jobs = await Promise.all(
      Array.from(entries as readonly unknown[], (entry) => {
        if (!isObject(entry)) throw optionError(where, 'entries', entry, 'objects with task')
        const { task, payload, ...options } = entry as unknown as BatchEntry
        return this.#factory.job(task, payload, options, where)
      }),
    )
    await this.#engine.add(jobs)
    return jobs.map((job) => this.#added(job))
  }

  async flow(entry: FlowEntry, options: JobCallOptions = {}): Promise<AddedJob> {
    validateOptions('queue.flow()', options, CALL_OPTIONS)
    const { tenant } = options
    const flow = await this.#factory.flow(entry, tenant)
    await this.#engine.addFlow(flow)
    return this.#added(flow)
  }

  async get(id: string, options?: JobCallOptions): Promise<Job | undefined> {
    const job = await this.#engine.get(this.#storedId(id, options, 'get'))
    return job && jobOf(job)
  }

  async remove(id: string, options?: JobCallOptions): Promise<boolean> {
    const removed = await this.#engine.remove(this.#storedId(id, options, 'remove'))
    if (removed !== 'active') return removed === 'removed'
    throw new TurnpikeError(
      'TP_JOB_STATE',
      'The job is running, or belongs to a schedule. It cannot be removed.',
      { status: 409 },
    )
  }

  counts(): Promise<JobCounts> {
    return this.#engine.counts()
  }

  async health(): Promise<QueueHealth> {
    try {
      const [{ waiting }, addedAt, workers] = await Promise.all([
        this.#engine.counts(),
        this.#engine.oldestAddedAt(),
        this.#engine.workers(),
      ])
      const now = this.#context.store.now()
      const health: QueueHealth = {
        status: waiting > 0 && workers === 0 ? 'no-worker' : 'ok',
        backlog: waiting,
        oldestMs: addedAt === undefined ? 0 : Math.max(0, now - addedAt),
        workers,
      }
      this.#reports.noteHealth(health)
      return health
    } catch {
      return { status: 'unavailable', backlog: undefined, oldestMs: undefined, workers: undefined }
    }
  }

  work(options?: WorkOptions): Promise<void> {
    const started = this.#worker.start(options)
    // A worker may wait for Redis until the instance closes. A caller that does not wait has not failed.
    const forgive = (): void => void started.catch(() => {})
    this.#context.closing.addEventListener('abort', forgive, { once: true })
    return started
  }

  async idle(): Promise<void> {
    for (;;) {
      const { active, waiting } = await this.#engine.counts()
      if (active + waiting === 0) return
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  accept: JobQueue<Native, Middleware>['accept'] = (task, payload, options = {}) => {
    const where = 'queue.accept()'
    if (!taskNameValidator.accepts(task))
      throw optionError(where, 'task', task, taskNameValidator.expected)
    const { tenant: _, ...known } = ADD_OPTIONS
    validateOptions(where, options, { ...known, id: callback })
    const add = this.add.bind(this)
    return this.#context.mount(acceptFeature(this.#context, this, add, task, payload, options))
  }

  router: JobQueue<Native, Middleware>['router'] = (options) => {
    const where = 'queue.router()'
    validateOptions(where, options, { authorize: callback, maxStreams: integer(1) })
    if (options.authorize === undefined)
      throw optionRuleError(
        where,
        'authorize',
        undefined,
        'authorize is required. Without it every client of the router could add and remove jobs. Pass (req, action) => true or false.',
      )
    const tasks = this.#tasks
    const routed = {
      name: this.name,
      path: this.path,
      get tasks() {
        return [...tasks.keys()]
      },
      add: this.add.bind(this),
      get: this.get.bind(this),
      remove: this.remove.bind(this),
      counts: this.counts.bind(this),
      watch: (id: string, tenant: string | undefined, onChange: () => void) =>
        this.#engine.watch(storedId(id, tenant), onChange),
    }
    return this.#context.mount(new JobRouter(this.#context, routed, options))
  }

  board(): Promise<unknown> {
    return this.#engine.board()
  }

  #storedId(id: string, options: JobCallOptions = {}, method: string): string {
    const where = `queue.${method}()`
    validateOptions(where, options, CALL_OPTIONS)
    const { tenant } = options
    return storedId(checkJobId(id, where), requireTenant(this.#context, tenant, where))
  }

  async #deadLetters(options: { offset?: number; limit?: number }): Promise<Job[]> {
    const { offset, limit } = pageOf(options, 'queue.failed.list()', 100)
    return (await this.#engine.failed(offset, limit)).map(jobOf)
  }

  async #drop(id: string): Promise<boolean> {
    const job = await this.#engine.get(id)
    return job?.state === 'failed' && (await this.#engine.remove(id)) === 'removed'
  }

  #added({ id, task, data }: NewJob): AddedJob {
    this.#reports.report(id, { type: 'added', task, tenant: data.tenant })
    return { id: publicId(id), task }
  }
}

/** @throws TP_OPTION */
function pageOf(
  options: { offset?: number; limit?: number },
  where: string,
  defaultLimit: number,
): { offset: number; limit: number } {
  validateOptions(where, options, { offset: integer(0), limit: integer(1, MAX_BATCH) })
  const { offset = 0, limit = defaultLimit } = options
  return { offset, limit }
}

function jobOf({ id, data, ...job }: StoredJob): Job {
  return {
    id: publicId(id),
    task: job.task,
    tenant: data.tenant,
    state: job.state,
    payload: data.payload,
    attempts: job.attempts,
    progress: job.progress,
    result: job.result,
    reason: job.reason,
    stack: job.stack,
    addedAt: job.addedAt,
    startedAt: job.startedAt,
    finishedAt: job.finishedAt,
  }
}
