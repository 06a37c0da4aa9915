/** Jobs in BullMQ's form. */
import type { Job as BullmqJob, JobsOptions } from 'bullmq'
import type { JobData, KeepLimits, NewJob, StoredJob } from './engine.ts'
import type { JobPriority, JobProgress, JobState } from './job.ts'

/** BullMQ runs smaller numbers first, and jobs without a number before all. */
export const PRIORITIES: Readonly<Record<JobPriority, number>> = { high: 0, normal: 10, low: 20 }

/** The kind of pause between attempts that is computed by us, not by BullMQ. */
export const BACKOFF = 'turnpike'

/** Returns BullMQ's options of a new job. */
export function bullmqOptions(
  { attempts, delayMs, id, priority }: Omit<NewJob, 'data' | 'task'>,
  keep: KeepLimits,
): JobsOptions {
  return {
    jobId: id,
    ...sharedOptions({ attempts, priority }, keep),
    ...(delayMs > 0 && { delay: delayMs }),
  }
}

/** Returns what the jobs of a schedule have in common with others. */
export function sharedOptions(
  { attempts, priority }: Pick<NewJob, 'attempts' | 'priority'>,
  keep: KeepLimits,
): Pick<
  JobsOptions,
  'attempts' | 'backoff' | 'priority' | 'keepLogs' | 'removeOnComplete' | 'removeOnFail'
> {
  return {
    attempts,
    backoff: { type: BACKOFF },
    ...(PRIORITIES[priority] > 0 && { priority: PRIORITIES[priority] }),
    stackTraceLimit: 1,
    keepLogs: 100,
    removeOnComplete: keepJobs(keep.completed),
    removeOnFail: keepJobs(keep.failed),
  } as JobsOptions
}

const keepJobs = ({ ageMs, count }: KeepLimits['failed']): { age: number; count: number } => ({
  age: Math.max(1, Math.ceil(ageMs / 1000)),
  count,
})

const STATES: Readonly<Record<string, JobState | undefined>> = {
  waiting: 'waiting',
  prioritized: 'waiting',
  paused: 'waiting',
  delayed: 'delayed',
  active: 'active',
  'waiting-children': 'waiting-children',
  completed: 'completed',
  failed: 'failed',
}

/** Returns a job as the queue sees it; undefined for one that is in no state. */
export function storedJobOf(job: BullmqJob, bullmqState: string): StoredJob | undefined {
  const state = STATES[bullmqState]
  if (state === undefined) return undefined
  return {
    id: job.id!,
    task: job.name,
    data: dataOf(job),
    state,
    attempts: job.attemptsMade,
    progress: job.progress as JobProgress,
    result: job.returnvalue ?? undefined,
    reason: job.failedReason || undefined,
    stack: job.stacktrace?.at(-1),
    addedAt: job.timestamp,
    startedAt: job.processedOn,
    finishedAt: job.finishedOn,
  }
}

/** Returns the stored data. Anyone with access to Redis can write it. */
export function dataOf({ data }: Pick<BullmqJob, 'data'>): JobData {
  const found = (typeof data === 'object' && data !== null ? data : {}) as Partial<JobData>
  const { payload = null, tenant, steps } = found
  return {
    payload,
    ...(typeof tenant === 'string' && { tenant }),
    ...(typeof steps === 'object' && steps !== null && { steps }),
  }
}
