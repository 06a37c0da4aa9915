/** What the queue's middlewares share: refusals, tenants, what a client sees of a job. */
import { isUnavailable, type ErrorCode, type TurnpikeError } from '../../errors.ts'
import type { Exchange, ExtensionContext } from '../../extension.ts'
import type { Plan, Reply } from '../../http/exchange.ts'
import { unavailableRefusal } from '../../http/refusal.ts'
import { FULL_RETRY } from './capacity.ts'
import { requestJobId } from './job-id.ts'
import type { AddedJob, Job } from './job.ts'

/** What a client sees of a job: neither its payload nor why it failed. */
export interface JobView {
  readonly id: string
  readonly task: string
  readonly state: Job['state']
  readonly attempts: number
  readonly progress: Job['progress']
  readonly result: unknown
  readonly addedAt: string
  readonly startedAt: string | undefined
  readonly finishedAt: string | undefined
}

/** Returns what a client sees of a job. */
export function viewOf(job: Job): JobView {
  const { id, task, state, attempts, progress, result } = job
  return {
    id,
    task,
    state,
    attempts,
    progress,
    result,
    addedAt: new Date(job.addedAt).toISOString(),
    startedAt: job.startedAt && timeOf(job.startedAt),
    finishedAt: job.finishedAt && timeOf(job.finishedAt),
  } as JobView
}

const timeOf = (ms: number): string => new Date(ms).toISOString()

/** Returns a reply in JSON. */
export const jsonReply = (status: number, body: unknown, headers = {}): { reply: Reply } => ({
  reply: {
    status,
    headers: {
      'Content-Type': 'application/json; charset=utf-8',
      'Cache-Control': 'no-store',
      ...headers,
    },
    body: JSON.stringify(body),
  },
})

/** Returns the reply to a request whose job is queued (RFC 9110, 15.3.3). */
export function acceptedReply({ id, task }: AddedJob, path: string): { reply: Reply } {
  const location = `${path}/${encodeURIComponent(id)}`
  return jsonReply(202, { id, task, location }, { Location: location })
}

/** How large the queue is does not concern clients. */
const FULL = 'Too many jobs are queued. Try again later.'

/** Returns a plan that turns the request away. */
export const refuse = (status: number, code: ErrorCode, detail: string): Plan => ({
  refusal: { status, code, detail },
})

/** Returns the plan for what a request must not do wrong. @throws every other error */
export function planForError(error: unknown, context: ExtensionContext, queue: string): Plan {
  if (isUnavailable(error)) {
    const { reason, uncertain } = error
    context.events.emit('unavailable', {
      feature: 'jobs',
      name: queue,
      reason,
      uncertain,
      rule: 'closed',
    })
    return { refusal: unavailableRefusal('The job cannot be queued now. Try again soon.') }
  }
  const { code, message, status } = error as TurnpikeError
  if (code === 'TP_QUEUE_FULL')
    return { refusal: { status, code, detail: FULL, retryAfterMs: FULL_RETRY } }
  if (code === 'TP_JOB_PAYLOAD' || code === 'TP_JOB_STATE') return refuse(status, code, message)
  throw error
}

/** What `tp.idempotency()` leaves on a request. */
interface Idempotent {
  readonly idempotency?: { readonly id?: unknown } | undefined
}

/** Returns the ID of the job that a request with an idempotency key adds. Undefined without a key. */
export function idempotentJobId(x: Exchange, task: string): string | undefined {
  const native = x.native as Idempotent & { state?: Idempotent }
  const id = (native.idempotency ?? native.state?.idempotency)?.id
  return typeof id === 'string' ? requestJobId(id, task) : undefined
}
