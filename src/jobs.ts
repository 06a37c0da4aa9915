/** Jobs over BullMQ, over an instance of any framework. */
import type { JobEvent } from './extensions/jobs/job.ts'

declare global {
  namespace TurnpikeExtensions {
    interface Events {
      /** Something happened to a job in this process. */
      job: JobEvent
    }
  }
}

export { jobs } from './extensions/jobs/index.ts'
export type {
  AddedJob,
  Job,
  JobCounts,
  JobEvent,
  JobPriority,
  JobProgress,
  JobState,
  QueueHealth,
  Schedule,
} from './extensions/jobs/job.ts'
export type {
  AcceptOptions,
  AddOptions,
  BatchEntry,
  FlowEntry,
  JobCallOptions,
  JobContext,
  JobHandler,
  JobQueue,
  RequestPayload,
  QueueOptions,
  RouterAction,
  RouterOptions,
  ScheduleOptions,
  TaskOptions,
  WorkOptions,
} from './extensions/jobs/options.ts'
export type { PayloadSchema, SchemaIssue, SchemaResult } from './extensions/jobs/standard-schema.ts'
