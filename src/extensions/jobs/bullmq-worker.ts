/** A BullMQ worker: runs jobs under a lease, and lets them go when it closes. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Job as BullmqJob } from 'bullmq'
import { StoreUnavailable, TurnpikeError } from '../../errors.ts'
import { toCause } from '../../store/diagnose.ts'
import { outageOf, type Bullmq, type BullmqConnection } from './bullmq-connection.ts'
import { dataOf, repairUnreadable } from './bullmq-job.ts'
import {
  CLOSING,
  isJobFailure,
  type ActiveJob,
  type EngineWorker,
  type EngineWorkOptions,
} from './engine.ts'
import type { JobProgress } from './job.ts'

/** How long jobs may take to end after closing has aborted them, and a worker without jobs, in ms. */
const GRACE = 1000
/** A job whose worker dies for the second time goes to the dead letters. */
const MAX_STALLED = 1

/** Jobs in progress, each with the time until which no other worker takes it. */
class Leases {
  readonly #ms: number
  readonly #held = new Map<string, { controller: AbortController; timer: NodeJS.Timeout }>()

  /** @param ms length of a lease. Ours end a little earlier than Redis's. */
  constructor(ms: number) {
    this.#ms = ms * 0.9
  }

  begin(id: string): AbortController {
    const controller = new AbortController()
    const timer = setTimeout(() => controller.abort(lostError()), this.#ms)
    this.#held.set(id, { controller, timer })
    return controller
  }

  renew(id: string): void {
    this.#held.get(id)?.timer.refresh()
  }

  lose(id: string): void {
    this.#held.get(id)?.controller.abort(lostError())
  }

  /** Ends a lease, unless a later attempt of this process has another one for the same job. */
  end(id: string, controller: AbortController): void {
    const held = this.#held.get(id)
    if (held?.controller !== controller) return
    clearTimeout(held.timer)
    this.#held.delete(id)
  }

  abortAll(): void {
    for (const { controller } of this.#held.values()) controller.abort(CLOSING)
  }

  /** Resolves when no job has been in progress for some time. */
  async idleFor(ms: number): Promise<void> {
    let idleMs = 0
    while (idleMs < ms) {
      await sleep(ms / 10, undefined, { ref: false })
      idleMs = this.#held.size === 0 ? idleMs + ms / 10 : 0
    }
  }
}

const lostError = (): TurnpikeError =>
  new TurnpikeError(
    'TP_LOCK_LOST',
    'The lease of the job has ended, because Redis was not reached in time. Another worker may run it now.',
  )

/** The message of a SyntaxError quotes the payload. */
const unreadable = (): TurnpikeError =>
  new TurnpikeError(
    'TP_VALUE',
    'What is stored of a job cannot be read: another program has written it. It goes to the dead letters.',
  )

/**
 * Starts a worker.
 * @param closing gives it up while it waits for its connection
 * @throws TP_UNAVAILABLE if it gets no connection
 */
export async function startBullmqWorker(
  { Worker, WaitingError }: Bullmq,
  connection: BullmqConnection,
  { concurrency, leaseMs, run, events }: EngineWorkOptions,
  closing: AbortSignal,
): Promise<EngineWorker> {
  const template = await connection.openBlocking()
  const leases = new Leases(leaseMs)

  async function process(job: BullmqJob, token: string | undefined): Promise<unknown> {
    const id = job.id!
    const lease = leases.begin(id)
    try {
      return await run(activeJob(job, lease.signal))
    } catch (error) {
      if (error !== CLOSING) throw error
      await job.moveToWait(token)
      throw new WaitingError()
    } finally {
      leases.end(id, lease)
    }
  }

  const worker = new Worker(connection.name, process, {
    ...connection.optionsFor(template),
    // One that is given up before it begins must not have taken a job.
    autorun: false,
    concurrency,
    lockDuration: leaseMs,
    stalledInterval: Math.max(100, leaseMs / 2),
    maxStalledCount: MAX_STALLED,
    runRetryDelay: 500,
    settings: { backoffStrategy: (_attempts, _type, error) => pauseOf(error) },
  })
  worker.on('error', (error) => {
    if (outageOf(error)) return
    const isUnreadable = error instanceof SyntaxError
    events.onError(isUnreadable ? unreadable() : error)
    // oxlint-disable-next-line promise/no-promise-in-callback -- no caller waits for it
    if (isUnreadable) connection.call('jobs.repair', repairUnreadable).catch(() => {})
  })
  worker.on('stalled', (id) => events.onStalled(id))
  worker.on('failed', (job, error) => {
    if (job !== undefined && !isJobFailure(error)) events.onDead(job.id!, job.name, error.message)
  })
  worker.on('locksRenewed', ({ jobIds }) => jobIds.forEach((id) => leases.renew(id)))
  worker.on('lockRenewalFailed', (ids) => ids.forEach((id) => leases.lose(id)))
  try {
    await Promise.race([worker.waitUntilReady(), rejectedBy(closing)])
  } catch (error) {
    worker.close(true).catch(() => {})
    await template.end()
    throw outageOf(error) ? new StoreUnavailable('not-ready', false, toCause(error)) : error
  }
  worker.run().catch((error: Error) => worker.emit('error', error))
  return {
    async close(signal) {
      const ended = worker.close().catch(() => {})
      const aborted = abortedFor(signal, GRACE, () => leases.abortAll())
      // BullMQ waits without an end for a connection that an outage has taken at that moment.
      await Promise.race([ended, aborted, leases.idleFor(GRACE)])
      await template.end()
    },
  }
}

/** Rejects when the instance closes. */
function rejectedBy(closing: AbortSignal): Promise<never> {
  const closed = new Promise<never>((_resolve, reject) => {
    const fail = (): void => reject(new StoreUnavailable('closed', false))
    if (closing.aborted) fail()
    else closing.addEventListener('abort', fail, { once: true })
  })
  closed.catch(() => {})
  return closed
}

const pauseOf = (error: unknown): number => (isJobFailure(error) ? (error.retryInMs ?? -1) : 60_000)

function activeJob(job: BullmqJob, signal: AbortSignal): ActiveJob {
  return {
    id: job.id!,
    task: job.name,
    data: dataOf(job),
    attempt: job.attemptsMade + 1,
    attempts: Math.max(1, job.opts.attempts ?? 1),
    signal,
    saveData: (data) => job.updateData(data),
    setProgress: (progress: JobProgress) => job.updateProgress(progress),
    async childResults() {
      const values = await job.getChildrenValues()
      const ids = (job.data as { children?: unknown }).children
      if (!Array.isArray(ids)) return []
      const byId = new Map(
        Object.entries(values ?? {}).map(([key, value]) => [
          key.slice(key.lastIndexOf(':') + 1),
          value,
        ]),
      )
      return ids.map((id) => byId.get(String(id)) as unknown)
    },
  }
}

/** Resolves some time after the signal has fired. */
function abortedFor(signal: AbortSignal, ms: number, onAbort: () => void): Promise<void> {
  return new Promise((resolve) => {
    function abort(): void {
      onAbort()
      setTimeout(resolve, ms).unref()
    }
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
  })
}
