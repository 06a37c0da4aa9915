/** Jobs in BullMQ's form. */
import type { Job as BullmqJob, JobsOptions, Queue } from 'bullmq'
import {
  UNREADABLE_REASON,
  type JobData,
  type KeepLimits,
  type NewJob,
  type StoredJob,
} from './engine.ts'
import type { OpenQueue, RedisCaller } from './bullmq-connection.ts'
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

/** Resolves with a job. Undefined for one that is in no state. */
export async function readJob(queue: Queue, id: string): Promise<StoredJob | undefined> {
  const [job, bullmqState] = await Promise.all([findJob(queue, id), queue.getJobState(id)])
  const state = STATES[bullmqState]
  if (job === undefined || state === undefined) return undefined
  return job === UNREADABLE ? unreadableJob(id, state) : storedJobOf(job, state)
}

/** BullMQ's code for a job that cannot be removed, because its schedule needs it. */
const NEEDED_BY_SCHEDULE = -8

/** Removes a job, also one that cannot be read. A worker's, or the next one of a schedule, is `active`. */
export async function removeJob(
  queue: Queue,
  id: string,
): Promise<'removed' | 'active' | 'missing'> {
  const state = await queue.getJobState(id)
  if (state === 'unknown') return 'missing'
  if (state === 'active') return 'active'
  const job = await findJob(queue, id)
  try {
    if ((await queue.remove(id)) !== 1) return 'active'
  } catch (error) {
    if ((error as { code?: unknown }).code === NEEDED_BY_SCHEDULE) return 'active'
    throw error
  }
  const parent = job === UNREADABLE ? undefined : job?.parent?.id
  if (parent !== undefined) await restorePriority(queue, parent)
  return 'removed'
}

/** A parent whose last child is removed may run, but BullMQ lets it run before all others. */
async function restorePriority(queue: Queue, id: string): Promise<void> {
  const parent = await findJob(queue, id)
  if (parent === undefined || parent === UNREADABLE) return
  const { priority = 0 } = parent.opts
  if (priority > 0 && (await queue.getJobState(id)) === 'waiting')
    await parent.changePriority({ priority })
}

/** What is found of a job that is no JSON, because another program has written it. */
export const UNREADABLE: unique symbol = Symbol('unreadable') as never

/** Resolves with BullMQ's job, undefined if there is none. */
export async function findJob(
  queue: Queue,
  id: string,
): Promise<BullmqJob | typeof UNREADABLE | undefined> {
  try {
    return await queue.getJob(id)
  } catch (error) {
    if (error instanceof SyntaxError) return UNREADABLE
    throw error
  }
}

/**
 * Makes active jobs that cannot be read fail when a worker takes them next. BullMQ would let each
 * stall, and take it again, for ever.
 */
export async function repairUnreadable({ queue, client }: OpenQueue): Promise<void> {
  const ids = await queue.getRanges(['active'], 0, -1, false)
  for (const id of ids) {
    if ((await findJob(queue, id)) !== UNREADABLE) continue
    const data: JobData = { payload: null, isUnreadable: true }
    const fields = ['data', JSON.stringify(data), 'opts', '{}', 'progress', '0']
    await (client as unknown as RedisCaller).call('HSET', queue.toKey(id), ...fields)
  }
}

/** Returns what can be said of such a job. An operator must be able to see and drop it. */
const unreadableJob = (id: string, state: JobState): StoredJob => ({
  id,
  task: '',
  data: { payload: null },
  state,
  attempts: 0,
  progress: 0,
  result: undefined,
  reason: UNREADABLE_REASON,
  stack: undefined,
  addedAt: 0,
  startedAt: undefined,
  finishedAt: state === 'completed' || state === 'failed' ? 0 : undefined,
})

function storedJobOf(job: BullmqJob, state: JobState): StoredJob {
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
  const { payload = null, tenant, steps, isUnreadable } = found
  return {
    payload,
    ...(typeof tenant === 'string' && { tenant }),
    ...(typeof steps === 'object' && steps !== null && { steps }),
    ...(isUnreadable === true && { isUnreadable }),
  }
}
