/** What a queue needs of an engine: BullMQ over Redis, or the in-process one. */
import type { JobCounts, JobPriority, JobProgress, JobState, Schedule } from './job.ts'

/** What the engine stores of a job for its handler. */
export interface JobData {
  readonly payload: unknown
  readonly tenant?: string | undefined
  /** Results of steps by name. */
  readonly steps?: Readonly<Record<string, unknown>> | undefined
  /** True if what was stored could not be read. The job fails for good. */
  readonly isUnreadable?: boolean | undefined
}

/** Why such a job fails. */
export const UNREADABLE_REASON = 'What is stored of the job cannot be read.'

/** A job to be stored. */
export interface NewJob {
  /** With its tenant: see `storedId`. */
  readonly id: string
  readonly task: string
  readonly data: JobData
  readonly priority: JobPriority
  readonly delayMs: number
  /** Attempts in all. */
  readonly attempts: number
}

/** A job with the children that run before it. */
export interface NewFlow extends NewJob {
  readonly children: readonly NewFlow[]
}

/** Returns the jobs of a flow, a parent before its children. */
export const jobsOfFlow = (flow: NewFlow): NewFlow[] => [
  flow,
  ...flow.children.flatMap((child) => jobsOfFlow(child)),
]

/** A repeated job to be stored. Exactly one of `pattern` and `everyMs` is set. */
export interface NewSchedule {
  readonly id: string
  readonly pattern: string | undefined
  readonly everyMs: number | undefined
  readonly timeZone: string | undefined
  readonly job: Omit<NewJob, 'id' | 'delayMs'>
}

/** A job as the engine has stored it. */
export interface StoredJob {
  readonly id: string
  readonly task: string
  readonly data: JobData
  readonly state: JobState
  readonly attempts: number
  readonly progress: JobProgress
  readonly result: unknown
  readonly reason: string | undefined
  readonly stack: string | undefined
  readonly addedAt: number
  readonly startedAt: number | undefined
  readonly finishedAt: number | undefined
}

/** A job that a worker has taken. */
export interface ActiveJob {
  readonly id: string
  readonly task: string
  readonly data: JobData
  /** Number of this attempt, from 1. */
  readonly attempt: number
  /** Attempts in all. */
  readonly attempts: number
  /** Fires when another worker may have taken the job, and when closing takes too long. */
  readonly signal: AbortSignal
  saveData(data: JobData): Promise<void>
  setProgress(progress: JobProgress): Promise<void>
  childResults(): Promise<unknown[]>
}

/** Runs a job. Rejects with JobFailure, or with CLOSING if the attempt does not count. */
export type RunJob = (job: ActiveJob) => Promise<unknown>

/** Why an attempt failed, in a form that may be stored. */
export class JobFailure extends Error {
  /** Milliseconds until the next attempt, undefined if there is none. */
  readonly retryInMs: number | undefined

  constructor(reason: string, stack: string, retryInMs: number | undefined) {
    super(reason)
    // BullMQ recognises by its name an error after which there is no retry.
    this.name = retryInMs === undefined ? 'UnrecoverableError' : 'JobFailure'
    this.stack = stack
    this.retryInMs = retryInMs
  }
}

/** Reason of the signal of a job that closing breaks off. Its attempt does not count. */
export const CLOSING: unique symbol = Symbol('closing') as never

/** What happened to a job in this process. */
export interface WorkerEvents {
  /** Its worker has died or lost it. It will run again. */
  onStalled(id: string): void
  /** It went to the dead letters without being run. */
  onDead(id: string, task: string, reason: string): void
  onError(error: unknown): void
}

/** How a process works on a queue. */
export interface EngineWorkOptions {
  readonly concurrency: number
  readonly leaseMs: number
  readonly run: RunJob
  readonly events: WorkerEvents
}

/** A worker of this process. */
export interface EngineWorker {
  /** Takes no further job. Resolves when those in progress have ended, or some time after `signal` fires. */
  close(signal: AbortSignal): Promise<void>
}

/** Limits over all workers. */
export interface QueueLimits {
  readonly concurrency: number | undefined
  readonly rate: { readonly limit: number; readonly windowMs: number } | undefined
}

/** How many finished jobs are kept, and for how long. */
export interface KeepLimits {
  readonly completed: { readonly ageMs: number; readonly count: number }
  readonly failed: { readonly ageMs: number; readonly count: number }
}

/** What an engine is created with. */
export interface JobEngineOptions {
  readonly name: string
  readonly limits: QueueLimits
  readonly keep: KeepLimits
  /** Most unfinished jobs. */
  readonly maxJobs: number
  warn(message: string): void
}

/** An engine for one queue. Each call rejects with TP_UNAVAILABLE within `commandTimeout` if it cannot answer. */
export interface JobEngine {
  /** Adds jobs together. One whose ID is taken is left out. @throws TP_QUEUE_FULL */
  add(jobs: readonly NewJob[]): Promise<void>
  /** @throws TP_QUEUE_FULL */
  addFlow(flow: NewFlow): Promise<void>
  /** @throws TP_OPTION for a cron expression or time zone that cannot be parsed; TP_QUEUE_FULL */
  schedule(schedule: NewSchedule): Promise<void>
  schedules(offset: number, limit: number): Promise<Schedule[]>
  unschedule(id: string): Promise<boolean>
  get(id: string): Promise<StoredJob | undefined>
  remove(id: string): Promise<'removed' | 'active' | 'missing'>
  counts(): Promise<JobCounts>
  failed(offset: number, limit: number): Promise<StoredJob[]>
  /** Moves a dead letter back, with all its attempts. */
  retry(id: string): Promise<boolean>
  /** When the oldest job that waits to run now was added. */
  oldestAddedAt(): Promise<number | undefined>
  /** Number of processes that work. Undefined where it cannot be known. */
  workers(): Promise<number | undefined>
  work(options: EngineWorkOptions): Promise<EngineWorker>
  /** Calls `onChange` when anything of a job may have changed. @returns the function that ends it */
  watch(id: string, onChange: () => void): () => void
  board(): Promise<unknown>
  close(): Promise<void>
}

/** Returns the failure of an attempt that is to be stored, if `error` is one. */
export const isJobFailure = (error: unknown): error is JobFailure => error instanceof JobFailure
