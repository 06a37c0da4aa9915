/** `queue.accept()`: a request in, a queued job and 202 out. */
import type { ExtensionContext, Feature } from '../../extension.ts'
import { isFunction } from '../../validate.ts'
import type { AddedJob } from './job.ts'
import type { AcceptOptions, AddOptions, RequestPayload } from './options.ts'
import { acceptedReply, idempotentJobId, planForError } from './requests.ts'

/** Adds the job of a request. */
export type AddJob = (task: string, payload: unknown, options: AddOptions) => Promise<AddedJob>

/** Returns the feature behind `queue.accept()`. */
export function acceptFeature<Native>(
  context: ExtensionContext<Native>,
  queue: { readonly name: string; readonly path: string },
  add: AddJob,
  task: string,
  payload: RequestPayload<Native>,
  { id, ...options }: AcceptOptions<Native>,
): Feature<Native> {
  return {
    name: 'accept',
    async handle(x) {
      const { native } = x
      const [value, tenant, own] = await Promise.all([
        isFunction(payload) ? (payload as (native: Native) => unknown)(native) : payload,
        context.tenantOf(native),
        id?.(native),
      ])
      const jobId = own ?? idempotentJobId(x, task)
      try {
        const added = await add(task, value, {
          ...options,
          ...(jobId !== undefined && { id: jobId }),
          ...(tenant !== undefined && { tenant }),
        })
        return acceptedReply(added, queue.path)
      } catch (error) {
        return planForError(error, context, queue.name)
      }
    },
  }
}
