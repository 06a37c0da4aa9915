/** Options and types of `turnpike/jobs`. */
import type { Duration } from '../../duration.ts'
import type {
  AddedJob,
  Job,
  JobCounts,
  JobPriority,
  JobProgress,
  QueueHealth,
  Schedule,
} from './job.ts'
import type { PayloadSchema } from './standard-schema.ts'

/** Options of `jobs()`. */
export interface QueueOptions {
  /**
   * Name of the queue in keys, events and messages.
   * @default 'default'
   */
  name?: string
  /**
   * Public path of `queue.router()`. `Location` of an accepted request begins with it. A router that
   * is not mounted below a path answers below it.
   * @default '/jobs'
   */
  path?: string
  /**
   * Number of unfinished jobs: waiting, delayed and running ones, and parents of flows. While there are
   * so many, further ones are refused with TP_QUEUE_FULL. Processes count now and then, so each may
   * exceed it by one in a hundred.
   * @default 100_000
   */
  maxJobs?: number
  /** Number of jobs that all workers together may run at once. @default no limit */
  concurrency?: number
  /** Number of jobs that all workers together may start within a time. @default no limit */
  rateLimit?: { limit: number; window: Duration }
  /** How long finished jobs are kept, and at most how many. @default 24 hours, dead letters 30 days */
  keep?: {
    /** Completed jobs: their status can be read, and their ID is taken. @default 24 hours, 10,000 jobs */
    completed?: { age?: Duration; count?: number }
    /** Dead letters. @default 30 days, 10,000 jobs */
    failed?: { age?: Duration; count?: number }
  }
}

/** Options of a task. */
export interface TaskOptions<Payload = unknown> {
  /**
   * Number of attempts after the first one failed.
   * @default 3
   */
  retries?: number
  /**
   * Pauses before retries. Each is twice as long as the one before: with the defaults 60, 120 and
   * 240 seconds, each up to a tenth longer.
   * @default { delay: '60s', max: '1h', jitter: 0.1 }
   */
  backoff?: {
    /** Pause before the first retry. @default '60s' */
    delay?: Duration
    /** Longest pause. @default '1h' */
    max?: Duration
    /** Largest random part that is added to a pause, as a share of it, so that jobs do not retry together. @default 0.1 */
    jitter?: number
  }
  /**
   * How long one attempt may run. After it the signal fires and the attempt counts as failed.
   * @default '1m'
   */
  timeout?: Duration
  /** Validates payloads when they are added, and again before they are run: zod, valibot, arktype. @default none */
  schema?: PayloadSchema<Payload>
  /** Longest payload, as JSON, in bytes. @default 65_536 */
  maxBytes?: number
}

/** What a handler is given beside the payload. */
export interface JobContext {
  /** ID of the job. The same in every attempt: use it as the idempotency key of calls to others. */
  readonly id: string
  /** Name of the task. */
  readonly task: string
  /** Tenant that the job was added for. */
  readonly tenant: string | undefined
  /** Number of this attempt, from 1. */
  readonly attempt: number
  /** Fires at the task's timeout, when another worker may have taken the job, and when closing takes too long. */
  readonly signal: AbortSignal
  /**
   * Runs `work` once for all attempts: a later attempt gets the stored result, as JSON.
   * @param name names the step within the job
   */
  step<Result>(name: string, work: () => Result | Promise<Result>): Promise<Result>
  /** Reports progress: a percentage, or a small object. Readers of the job and of its stream see the last one. */
  progress(value: JobProgress): Promise<void>
  /** Resolves with the results of the children of a flow, in their order. Empty for other jobs. */
  children(): Promise<unknown[]>
}

/** Runs a job. What it returns is the job's result and must be JSON. What it throws fails the attempt. */
export type JobHandler<Payload = any> = (payload: Payload, context: JobContext) => unknown

/** Options of `queue.add()`. */
export interface AddOptions {
  /** @default 'normal' */
  priority?: JobPriority
  /** Time until the job may run. @default none */
  in?: Duration
  /** Earliest time at which the job may run. @default at once */
  at?: Date
  /**
   * ID of the job: up to 100 letters, digits and `_.-`. While a job with this ID is kept, another one
   * is not added. Failed jobs are kept, too.
   * @default a random one
   */
  id?: string
  /** Tenant of the job. Required if the application has tenants. */
  tenant?: string
}

/** Options of a repeated job. */
export interface ScheduleOptions {
  /** An interval of at least one second (`'15m'`), or a cron expression of five or six fields (`'0 3 * * *'`). */
  every: string | number
  /** IANA time zone of a cron expression. @default 'UTC' */
  timeZone?: string
  /**
   * Name of the schedule: up to 100 letters, digits and `_.-`. Declared again, by any process, it
   * replaces the one of this name.
   * @default the name of the task, in which `.` replaces `:` and `/`
   */
  id?: string
  /** @default 'normal' */
  priority?: JobPriority
  /** Tenant of the job. Required if the application has tenants. */
  tenant?: string
}

/** One of several jobs that are added together. */
export interface BatchEntry extends AddOptions {
  /** Name of the task. */
  task: string
  /** Payload of the job. @default null */
  payload?: unknown
}

/** A job that runs when all its children have completed. If a child fails for good, so does it. */
export interface FlowEntry extends Pick<AddOptions, 'id' | 'priority'> {
  /** Name of the task. */
  task: string
  /** Payload of the job. @default null */
  payload?: unknown
  /** Jobs that must complete before. @default none */
  children?: readonly FlowEntry[]
}

/** Options of `queue.work()`. */
export interface WorkOptions {
  /** Number of jobs that this process runs at once. @default 1 */
  concurrency?: number
  /**
   * How long a job stays with a worker that no longer renews it. After it, another worker runs the
   * job again. A job that two workers have lost goes to the dead letters.
   * @default '30s'
   */
  lease?: Duration
  /**
   * Whether SIGTERM drains: no further job is taken, and those in progress may finish. Unless the
   * application listens for SIGTERM itself, the process ends then by the same signal.
   * @default true
   */
  sigterm?: boolean
  /** How long jobs in progress may take after SIGTERM. `tp.close()` has a limit of its own. @default '30s' */
  drain?: Duration
}

/** Options of a call for one job. */
export interface JobCallOptions {
  /** Tenant of the job. Required if the application has tenants. */
  tenant?: string
}

/** What a client of the router wants to do. */
export interface RouterAction {
  /** What the request is for. */
  readonly type: 'add' | 'read' | 'stream' | 'remove' | 'counts'
  /** The task to add, or of the job. Undefined for counts. */
  readonly task: string | undefined
  /** The job. Undefined for counts and jobs to be added. */
  readonly job: Job | undefined
}

/** Options of `queue.router()`. */
export interface RouterOptions<Native> {
  /**
   * Returns true if a client may do something. Otherwise adding and counts are refused with 403, and
   * a job looks as if it were missing: 404.
   * @example (req, { job }) => job === undefined || isOrderOf(req.session.userId, job.payload)
   */
  authorize: (native: Native, action: RouterAction) => unknown
  /** Most streams of this router in this process. Further ones get 503. @default 1000 */
  maxStreams?: number
}

/** A payload, or how it is made of a request. */
export type RequestPayload<Native> =
  | ((native: Native) => unknown)
  | object
  | string
  | number
  | boolean
  | null

/** Options of `queue.accept()`. */
export interface AcceptOptions<Native> extends Omit<AddOptions, 'tenant' | 'id'> {
  /** Returns the ID of the job. @default made from the request's idempotency key if there is one, else random */
  id?: (native: Native) => string | undefined | Promise<string | undefined>
}

/** A queue of jobs. */
export interface JobQueue<Native, Middleware> {
  /** Name of the queue. */
  readonly name: string
  /**
   * Declares a task. A process that only adds jobs needs no handler.
   * @throws TP_OPTION for an option that cannot be used, and for a task that is declared twice
   */
  define<Payload = any>(
    task: string,
    options: TaskOptions<Payload>,
    handler?: JobHandler<Payload>,
  ): void
  define<Payload = any>(task: string, handler: JobHandler<Payload>): void
  /**
   * Adds a job. With `every` it declares a repeated one.
   * @throws TP_JOB_PAYLOAD for a payload that is invalid or too large
   * @throws TP_QUEUE_FULL while the queue has `maxJobs` unfinished jobs
   * @throws TP_UNAVAILABLE within `commandTimeout` while Redis is away
   * @throws TP_OPTION for an unknown task or an option that cannot be used
   */
  add(task: string, payload?: unknown, options?: AddOptions | ScheduleOptions): Promise<AddedJob>
  /** Adds up to 1,000 jobs together: all or none. @throws as `add` */
  addMany(entries: readonly BatchEntry[]): Promise<AddedJob[]>
  /** Adds a job with children, which run before it: all or none. @throws as `add` */
  flow(entry: FlowEntry, options?: JobCallOptions): Promise<AddedJob>
  /** Resolves with a job, undefined if it is not kept. @throws TP_UNAVAILABLE */
  get(id: string, options?: JobCallOptions): Promise<Job | undefined>
  /**
   * Removes a job that does not run. Resolves with false if there is none.
   * @throws TP_JOB_STATE if it is running; TP_UNAVAILABLE
   */
  remove(id: string, options?: JobCallOptions): Promise<boolean>
  /** Resolves with the number of jobs in each state. @throws TP_UNAVAILABLE */
  counts(): Promise<JobCounts>
  /** Resolves with the state of the queue. It does not reject while Redis is away. */
  health(): Promise<QueueHealth>
  /** Repeated jobs. */
  readonly schedules: {
    /** @param options `limit` up to 1,000, which is the default */
    list(options?: { offset?: number; limit?: number }): Promise<Schedule[]>
    /** Resolves with false if there is none of this name. */
    remove(id: string, options?: JobCallOptions): Promise<boolean>
  }
  /** Dead letters: jobs whose last attempt failed. */
  readonly failed: {
    /** The last ones first. @param options `limit` up to 1,000, default 100 */
    list(options?: { offset?: number; limit?: number }): Promise<Job[]>
    /** Runs a job again, with all its attempts. Resolves with false if it is no dead letter. */
    retry(id: string, options?: JobCallOptions): Promise<boolean>
    /** Deletes a dead letter. Resolves with false if it is none. */
    drop(id: string, options?: JobCallOptions): Promise<boolean>
  }
  /**
   * Takes and runs jobs in this process, until it is closed. Resolves when it has begun. It waits for
   * a Redis that is away.
   * @throws TP_OPTION if no task has a handler, or it is called twice
   */
  work(options?: WorkOptions): Promise<void>
  /** Resolves when no job waits or runs. Delayed ones do not count. For tests. */
  idle(): Promise<void>
  /**
   * Returns a middleware that adds a job and answers 202 with its ID and `Location`.
   * @example app.post('/orders', express.json(), queue.accept('order.place', (req) => req.body))
   */
  accept(task: string, payload: RequestPayload<Native>, options?: AcceptOptions<Native>): Middleware
  /**
   * Returns a middleware that serves jobs. POST adds a job, GET /:id shows it, and DELETE /:id removes
   * it. GET /:id/stream follows it by server-sent events. GET / shows the counts.
   * @throws TP_OPTION without `authorize`
   */
  router(options: RouterOptions<Native>): Middleware
  /**
   * Resolves with BullMQ's queue, for bull-board's adapter.
   * @throws TP_OPTION for the in-process engine
   */
  board(): Promise<any>
}
