/** What is known of jobs and of their queue. */

/** Progress of a job: a percentage, or an object of at most 4 KB as JSON. */
export type JobProgress = number | Readonly<Record<string, unknown>>

/** Urgency of a job. */
export type JobPriority = 'high' | 'normal' | 'low'

/** Where a job is. `waiting-children`: its children have not completed. `failed`: among the dead letters. */
export type JobState =
  | 'waiting'
  | 'delayed'
  | 'active'
  | 'waiting-children'
  | 'completed'
  | 'failed'

/** A job as it is now. */
export interface Job {
  /** ID of the job. */
  readonly id: string
  /** Name of its task. */
  readonly task: string
  /** Tenant of the job, in an application that has tenants. */
  readonly tenant: string | undefined
  /** Where the job is. */
  readonly state: JobState
  /** Payload as it was added. */
  readonly payload: unknown
  /** Attempts that have ended. */
  readonly attempts: number
  /** What the handler has reported last. 0 before that. */
  readonly progress: JobProgress
  /** What the handler returned. */
  readonly result: unknown
  /** Why the last attempt failed. */
  readonly reason: string | undefined
  /** Stack of the last failure. */
  readonly stack: string | undefined
  /** When it was added, in ms since the epoch. */
  readonly addedAt: number
  /** When its last attempt began, in ms since the epoch. */
  readonly startedAt: number | undefined
  /** When it completed or failed for good, in ms since the epoch. */
  readonly finishedAt: number | undefined
}

/** A job that the queue has. */
export interface AddedJob {
  /** ID by which `get()` finds it. */
  readonly id: string
  /** Name of its task. */
  readonly task: string
}

/** A repeated job. */
export interface Schedule {
  /** Name of the schedule. */
  readonly id: string
  /** Name of its task. */
  readonly task: string
  /** Cron expression, or interval in ms. */
  readonly every: string | number
  /** Time zone of the cron expression. */
  readonly timeZone: string | undefined
  /** When it runs next, in ms since the epoch. */
  readonly nextAt: number | undefined
}

/** Number of jobs in each state. */
export interface JobCounts extends Readonly<Record<Exclude<JobState, 'waiting-children'>, number>> {
  /** Parents of flows whose children have not completed. */
  readonly waitingChildren: number
  /** Waiting jobs by priority. */
  readonly priorities: Readonly<Record<JobPriority, number>>
}

/** State of a queue for health checks. */
export interface QueueHealth {
  /** `no-worker`: jobs wait, and no process works. `unavailable`: Redis is away. */
  readonly status: 'ok' | 'no-worker' | 'unavailable'
  /** Jobs that wait to be run now. */
  readonly backlog: number | undefined
  /** Age of the oldest of them, in ms. 0 without a backlog. */
  readonly oldestMs: number | undefined
  /** Processes that work on the queue. Undefined where Redis does not tell. */
  readonly workers: number | undefined
}

/** Something that happened to a job in this process: the event `job`. */
export interface JobEvent {
  /** Name of the queue. */
  queue: string
  /** What happened. */
  type:
    | 'added'
    /** An attempt began. */
    | 'started'
    /** The handler has returned. */
    | 'completed'
    /** The attempt failed. Another one follows. */
    | 'retrying'
    /** The last attempt failed. The job is a dead letter. */
    | 'failed'
    /** Its worker has died or was cut off. The job runs again. */
    | 'stalled'
  /** ID of the job. */
  id: string
  /** Name of the task. Undefined where it is not known. */
  task: string | undefined
  /** Tenant of the job, in an application that has tenants. */
  tenant: string | undefined
  /** Number of the attempt, from 1. */
  attempt: number | undefined
  /** How long the attempt took. */
  durationMs: number | undefined
  /** Message of the error that failed the attempt. */
  reason: string | undefined
}
