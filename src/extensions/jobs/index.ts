/** Jobs over BullMQ, or in the process: what `turnpike/jobs` offers. */
import { durationOption, durationValidator, type Duration } from '../../duration.ts'
import { extension, type ExtensionContext, type Instance } from '../../extension.ts'
import {
  identifier,
  integer,
  optionError,
  plainObject,
  validateOptions,
  type Validator,
} from '../../validate.ts'
import { BullmqEngine } from './bullmq-engine.ts'
import type { JobEngineOptions, JobEngine, KeepLimits, QueueLimits } from './engine.ts'
import { MemoryJobEngine } from './memory-engine.ts'
import type { JobQueue, QueueOptions } from './options.ts'
import { createQueue } from './queue.ts'

const pathValidator: Validator = {
  expected: "a path that begins with '/' and does not end with it",
  accepts: (value) => typeof value === 'string' && /^(\/[\w.~%-]+)+$/.test(value),
}

const DAY = 86_400_000
const MAX_KEEP_AGE = 366 * DAY

/**
 * Creates a queue of jobs. With Redis, BullMQ keeps and delivers them. Over `testStore()` and
 * `redis: 'memory'` they run in this process, on the store's clock.
 *
 * @param tp the instance that `turnpike()` returned
 * @returns the same queue when it is called again for this instance and name
 * @throws TP_OPTION for an option that cannot be used
 * @see docs/jobs.md
 * @example
 * const queue = jobs(tp)
 * queue.define('email.send', { retries: 3, timeout: '30s' }, async (mail, { signal }) => send(mail, signal))
 * await queue.add('email.send', { to: 'ann@example.com' }, { in: '10m' })
 * await queue.work({ concurrency: 5 })          // in a worker process
 */
export function jobs<Native, Middleware>(
  tp: Instance<Native, Middleware>,
  options: QueueOptions = {},
): JobQueue<Native, Middleware> {
  const where = 'jobs()'
  validateOptions(where, options, {
    name: identifier,
    path: pathValidator,
    maxJobs: integer(1, 10_000_000),
    concurrency: integer(1, 1_000_000),
    rateLimit: plainObject,
    keep: plainObject,
  })
  const { name = 'default', path = '/jobs', maxJobs = 100_000 } = options
  const { context, queues } = extension(tp, 'queue', (context) => ({
    context,
    queues: new Map<string, JobQueue<Native, Middleware>>(),
  }))
  const limits = limitsOf(options, where)
  const keep = keepOf(options, where)
  const settings = { path, maxJobs, ...limits, ...keep }
  context.claimName({ where, kind: 'queue', name, isExplicit: true, settings })
  const known = queues.get(name)
  if (known !== undefined) return known
  const queue = createQueue(
    context,
    { name, path },
    createEngine(context, {
      name,
      limits,
      keep,
      maxJobs,
      warn: (message) => context.events.warn(message),
    }),
  )
  queues.set(name, queue)
  return queue
}

function createEngine(context: ExtensionContext, options: JobEngineOptions): JobEngine {
  if (context.store.kind === 'memory') return new MemoryJobEngine(context, options)
  warnOfEviction(context)
  return new BullmqEngine(context, options)
}

/** Warns if Redis may delete jobs, or their leases, when its memory is full. */
function warnOfEviction({ events, store }: ExtensionContext): void {
  const check = async (): Promise<void> => {
    await store.ready(60_000)
    const { maxmemory_policy: policy = 'noeviction' } = await store.info()
    if (policy === 'noeviction') return
    events.warn(
      `Jobs need a Redis that evicts nothing. Its maxmemory-policy is ${policy}: jobs can be lost, or run twice, when its memory is full. Set noeviction, or give the queue a server of its own: stores: { queue: { redis } }.`,
    )
  }
  check().catch(() => {})
}

function limitsOf({ concurrency, rateLimit }: QueueOptions, where: string): QueueLimits {
  if (rateLimit === undefined) return { concurrency, rate: undefined }
  validateOptions(`${where}: rateLimit`, rateLimit, {
    limit: integer(1),
    window: durationValidator,
  })
  const { limit, window } = rateLimit
  if (limit === undefined || window === undefined)
    throw optionError(where, 'rateLimit', rateLimit, 'an object with limit and window')
  return {
    concurrency,
    rate: { limit, windowMs: durationOption(window, where, 'rateLimit.window') },
  }
}

function keepOf({ keep = {} }: QueueOptions, where: string): KeepLimits {
  validateOptions(`${where}: keep`, keep, { completed: plainObject, failed: plainObject })
  const of = (
    state: 'completed' | 'failed',
    days: number,
  ): { readonly ageMs: number; readonly count: number } => {
    const given: { age?: Duration; count?: number } = keep[state] ?? {}
    validateOptions(`${where}: keep.${state}`, given, {
      age: durationValidator,
      count: integer(1, 1_000_000),
    })
    const { age = days * DAY, count = 10_000 } = given
    const ageMs = durationOption(age, where, `keep.${state}.age`)
    if (ageMs <= MAX_KEEP_AGE) return { ageMs, count }
    throw optionError(where, `keep.${state}.age`, age, 'at most one year')
  }
  return { completed: of('completed', 1), failed: of('failed', 30) }
}
