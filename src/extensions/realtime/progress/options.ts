/** Options and results of `progress()`. */
import type { Duration } from '../../../duration.ts'
import type { StreamControl } from '../sse/options.ts'

/** Options of `progress()`. */
export interface ProgressOptions {
  /** How long a progress is kept after its last change, and so after its end. At most 30 days. @default '24h' */
  ttl?: Duration
}

/** Options of `progress().of()`. */
export interface ProgressOfOptions {
  /** Number of steps in all. Without it, `step()` changes no percentage. @default as before */
  total?: number
  /** Tenant of the task. Required if the application has tenants. */
  tenant?: string
}

/** Options of a change. */
export interface ProgressChangeOptions {
  /** What this part cost. It is added, to six decimal places. At most 1,000,000. @default 0 */
  cost?: number
  /** What is being done, or was done last: at most 200 characters. @default as before */
  step?: string
}

/** State of a progress. */
export interface ProgressState {
  /** `'running'` until `done()` or `fail()`. */
  readonly status: 'running' | 'done' | 'failed'
  /** From 0 to 100, to two decimal places: by steps, or as it was set. */
  readonly percent: number
  /** Number of steps that were done. */
  readonly steps: number
  /** Number of steps in all. Null: not known. */
  readonly total: number | null
  /** Name of the last step. */
  readonly step: string | null
  /** Sum of the costs. */
  readonly cost: number
  /**
   * Time that was left at `updatedAt`, in ms, if the rest takes as long as the part before. Null:
   * not known, or over.
   */
  readonly etaMs: number | null
  /** Why it failed, as `fail()` was told. */
  readonly reason: string | null
  /** Time of `start()`, or of the first change, in ms since the epoch. */
  readonly startedAt: number
  /** Time of the last change, in ms since the epoch. */
  readonly updatedAt: number
  /** Time of the end, in ms since the epoch. Null: it is running. */
  readonly finishedAt: number | null
}

/**
 * Progress of one task. Each change costs one round trip, and is published. After the end only
 * `start()` changes anything: other methods return the state as it is. They reject with TP_UNAVAILABLE
 * within `commandTimeout` while Redis is away.
 */
export interface Progress {
  /** Topic to which each change is published, for `live.subscribe()` and `sse()`. */
  readonly topic: string
  /** Begins, at 0 percent. Also begins again after an end. @throws TP_UNAVAILABLE */
  start(options?: ProgressChangeOptions): Promise<ProgressState>
  /**
   * Counts one more step as done. A call that rejects with `uncertain: true` may have counted it.
   * @param step names the step: at most 200 characters
   * @throws TP_VALUE, TP_UNAVAILABLE
   */
  step(step?: string, options?: Pick<ProgressChangeOptions, 'cost'>): Promise<ProgressState>
  /** Sets the percentage by hand. @param percent from 0 to 100 @throws TP_VALUE, TP_UNAVAILABLE */
  set(percent: number, options?: ProgressChangeOptions): Promise<ProgressState>
  /** Ends at 100 percent. @throws TP_UNAVAILABLE */
  done(options?: ProgressChangeOptions): Promise<ProgressState>
  /**
   * Ends where it is.
   * @param reason is shown to clients: at most 1000 characters @default none
   * @throws TP_VALUE, TP_UNAVAILABLE
   */
  fail(reason?: string, options?: ProgressChangeOptions): Promise<ProgressState>
  /** Returns the state. Undefined: there is none, or it was kept long enough. @throws TP_UNAVAILABLE */
  get(): Promise<ProgressState | undefined>
}

/** Options of `progress().router()`. */
export interface ProgressRouterOptions<Native> {
  /**
   * Returns true if the request may see a progress. Required, because IDs can be guessed. Other
   * requests get 404.
   */
  authorize: (native: Native, id: string) => boolean | Promise<boolean>
  /** Public path of the router, where the framework does not remove it. @default '/progress' */
  path?: string
}

/** What `follow()` uses of a job of `turnpike/jobs`. */
export interface FollowedJob {
  /** ID of the job, and of its progress. */
  readonly id: string
  /** Tenant that the job was added for. */
  readonly tenant: string | undefined
  /** Runs a step, once for all attempts. */
  step<Result>(name: string, work: () => Result | Promise<Result>): Promise<Result>
  /** Reports progress. */
  progress(value: any): Promise<void>
}

/** Progress of tasks. See `progress()`. */
export interface ProgressTracker<Native = any, Middleware = any> {
  /**
   * Returns the progress of one task. Nothing is stored before its first change.
   * @param id names the task: a string of 1 to 200 characters
   * @throws TP_KEY, TP_OPTION
   */
  of(id: string, options?: ProgressOfOptions): Progress
  /**
   * Returns a handler of `turnpike/jobs` of the same instance that also changes the progress of its job, under the job's ID.
   * Each step is a step. A reported percentage, or `{ percent, step, cost }`, sets it. The job's end
   * ends it. A change that Redis does not get fails no job.
   * @param options `total`: number of steps of the job
   * @throws TP_OPTION
   * @example queue.define('report', tasks.follow(buildReport, { total: 3 }))
   */
  follow<Payload, Job extends FollowedJob, Result>(
    handler: (payload: Payload, job: Job) => Result,
    options?: Pick<ProgressOfOptions, 'total'>,
  ): (payload: Payload, job: Job) => Promise<Awaited<Result>>
  /**
   * Creates a router. `GET /:id` replies with the state as JSON. `GET /:id/stream` sends it as
   * server-sent events: `progress` now and after each change, `end` at the end.
   * `size` and `endAll()` are of its streams.
   * @throws TP_OPTION
   */
  router(options: ProgressRouterOptions<Native>): Middleware & StreamControl
}
