/** One attempt at a job: its handler with a timeout, steps and progress. */
import { TurnpikeError } from '../../errors.ts'
import type { Store } from '../../store/store.ts'
import { CLOSING, JobFailure, UNREADABLE_REASON, type ActiveJob, type JobData } from './engine.ts'
import { publicId } from './job-id.ts'
import type { JobProgress } from './job.ts'
import type { JobContext } from './options.ts'
import type { JobTask } from './task.ts'

const MAX_REASON = 1000
const MAX_STACK = 4000
const MAX_STEPS = 100
const MAX_STEP_BYTES = 65_536
const MAX_PROGRESS_BYTES = 4096
const MAX_RESULT_BYTES = 65_536

/** How long a handler may take to end after its signal has fired, in ms. */
const GRACE = 5000

/** What an attempt needs besides the job. */
export interface ExecutionTools {
  readonly store: Store
  warn(message: string): void
}

/**
 * Runs one attempt. Resolves with the result as JSON restores it.
 * @throws JobFailure, or CLOSING if the attempt does not count
 */
export async function runAttempt(
  job: ActiveJob,
  task: JobTask | undefined,
  tools: ExecutionTools,
): Promise<unknown> {
  const controller = new AbortController()
  const onAbort = (): void => controller.abort(job.signal.reason)
  job.signal.addEventListener('abort', onAbort, { once: true })
  if (job.signal.aborted) onAbort()
  try {
    if (job.data.isUnreadable)
      throw Object.assign(new TurnpikeError('TP_VALUE', UNREADABLE_REASON), { retry: false })
    if (task?.handler === undefined) throw missingHandler(job.task)
    return await runHandler(job, task, controller, tools)
  } catch (error) {
    if (controller.signal.reason === CLOSING) throw CLOSING
    throw failureOf(error, job, task)
  } finally {
    job.signal.removeEventListener('abort', onAbort)
  }
}

async function runHandler(
  job: ActiveJob,
  task: JobTask,
  controller: AbortController,
  { store, warn }: ExecutionTools,
): Promise<unknown> {
  const progress = new ProgressReport(job)
  const ended = new AbortController()
  const context: JobContext = {
    id: publicId(job.id),
    task: job.task,
    tenant: job.data.tenant,
    attempt: job.attempt,
    signal: controller.signal,
    step: createSteps(job, controller.signal),
    progress: (value) => progress.report(value),
    children: () => job.childResults(),
  }
  store.sleep(task.timeoutMs, ended.signal, true).then(
    () => controller.abort(timeoutError(task)),
    () => {},
  )
  const work = (async () => {
    const payload = await task.parsePayload(job.data.payload)
    controller.signal.throwIfAborted()
    return await task.handler!(payload, context)
  })()
  try {
    const result = await Promise.race([
      work,
      graceAfter(controller.signal, ended.signal, task, warn),
    ])
    // A handler that ignores its signal may end well after its time. Another attempt may run by then.
    controller.signal.throwIfAborted()
    await progress.flushed()
    return checkResult(result, job.task)
  } finally {
    ended.abort()
    work.catch(() => {})
  }
}

/** Rejects some time after the signal has fired: a handler that ignores it must not keep its place for ever. */
function graceAfter(
  signal: AbortSignal,
  ended: AbortSignal,
  task: JobTask,
  warn: (message: string) => void,
): Promise<never> {
  return new Promise((_resolve, reject) => {
    function begin(): void {
      const timer = setTimeout(() => {
        warn(
          `The handler of '${task.name}' goes on although its signal has fired. Pass the signal to what it awaits, or check signal.aborted. Otherwise two attempts can run at the same time.`,
        )
        reject(signal.reason)
      }, GRACE)
      ended.addEventListener('abort', () => clearTimeout(timer), { once: true })
    }
    if (signal.aborted) begin()
    else signal.addEventListener('abort', begin, { once: true })
  })
}

/** Returns `step()` of one attempt. */
function createSteps(job: ActiveJob, signal: AbortSignal): JobContext['step'] {
  let data: JobData = job.data
  return async (name, work) => {
    if (typeof name !== 'string' || name === '' || name.length > 100)
      throw new TurnpikeError(
        'TP_VALUE',
        'step(): the name must be a string of 1 to 100 characters.',
      )
    const steps = data.steps ?? {}
    if (Object.hasOwn(steps, name)) return steps[name] as never
    signal.throwIfAborted()
    if (Object.keys(steps).length >= MAX_STEPS)
      throw new TurnpikeError('TP_VALUE', `step(): a job has at most ${MAX_STEPS} steps.`)
    const result = checkSize(await work(), MAX_STEP_BYTES, `The result of step '${name}'`)
    // What another attempt has stored meanwhile must not be overwritten.
    signal.throwIfAborted()
    // Object.entries and fromEntries keep '__proto__' an ordinary name.
    const entries = [...Object.entries(data.steps ?? {}), [name, result] as const]
    data = { ...data, steps: Object.fromEntries(entries) }
    await job.saveData(data)
    return result as never
  }
}

/** Sends progress. While one report is on its way, only the last of the following ones is kept. */
class ProgressReport {
  readonly #job: ActiveJob
  #sending: Promise<void> | undefined
  #next: JobProgress | undefined

  constructor(job: ActiveJob) {
    this.#job = job
  }

  /** @throws TP_VALUE for what is neither a number nor a small object */
  async report(value: JobProgress): Promise<void> {
    const isPercentage = typeof value === 'number' && Number.isFinite(value)
    if (!isPercentage && (typeof value !== 'object' || value === null))
      throw new TurnpikeError('TP_VALUE', 'progress(): the value must be a number or an object.')
    this.#next = checkSize(value, MAX_PROGRESS_BYTES, 'The progress') as JobProgress
    await (this.#sending ??= this.#send())
  }

  /** Resolves when the last report is stored. Progress that is lost fails no job. */
  async flushed(): Promise<void> {
    await this.#sending?.catch(() => {})
  }

  async #send(): Promise<void> {
    try {
      while (this.#next !== undefined) {
        const value = this.#next
        this.#next = undefined
        await this.#job.setProgress(value)
      }
    } finally {
      this.#sending = undefined
    }
  }
}

const checkResult = (result: unknown, task: string): unknown =>
  result === undefined ? null : checkSize(result, MAX_RESULT_BYTES, `The result of '${task}'`)

/** Returns a value as JSON restores it. @throws TP_VALUE if it is too large, or no JSON */
function checkSize(value: unknown, maxBytes: number, what: string): unknown {
  let json: string | undefined
  try {
    json = JSON.stringify(value ?? null)
  } catch {
    // A circle, a BigInt.
  }
  if (json === undefined) throw new TurnpikeError('TP_VALUE', `${what} cannot be stored as JSON.`)
  if (Buffer.byteLength(json) <= maxBytes) return JSON.parse(json) as unknown
  throw new TurnpikeError('TP_VALUE', `${what} has more than ${maxBytes} bytes as JSON.`)
}

/** Returns an error as it is stored: bounded, and with the time of the next attempt. */
function failureOf(error: unknown, job: ActiveJob, task: JobTask | undefined): JobFailure {
  const { message, stack, code, retry } = (
    typeof error === 'object' && error !== null ? error : { message: String(error) }
  ) as { message?: unknown; stack?: unknown; code?: unknown; retry?: unknown }
  const reason = String(message).slice(0, MAX_REASON)
  const trace = typeof stack === 'string' ? stack.slice(0, MAX_STACK) : reason
  // A payload that is invalid now is invalid in the next attempt, too.
  const isFinal = code === 'TP_JOB_PAYLOAD' || retry === false || job.attempt >= job.attempts
  const pause = task === undefined ? 60_000 : task.pauseAfter(job.attempt)
  return new JobFailure(reason, trace, isFinal ? undefined : pause)
}

const missingHandler = (task: string): TurnpikeError =>
  new TurnpikeError(
    'TP_OPTION',
    `No handler for the task '${task}' is defined in this worker. Call queue.define('${task}', handler) in every process that works on the queue.`,
  )

const timeoutError = ({ name, timeoutMs }: JobTask): TurnpikeError =>
  new TurnpikeError('TP_JOB_TIMEOUT', `The task '${name}' has run for longer than ${timeoutMs} ms.`)
