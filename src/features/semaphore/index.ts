/** Semaphores: `tp.semaphore()`, `tp.concurrency()`. */
import {
  boolean,
  callback,
  validateOptions,
  anyOf,
  identifier,
  isFunction,
  optionError,
  nonEmptyString,
  integer,
  oneOf,
} from '../../validate.ts'
import { durationOption, durationValidator } from '../../duration.ts'
import { TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import { subjectTag, requireTenant } from '../../store/subject.ts'
import { SemaphoreEngine } from './engine.ts'
import { concurrencyFeature } from './feature.ts'
import type {
  ConcurrencyOptions,
  Permit,
  PermitOptions,
  Semaphore,
  SemaphoreOptions,
} from './options.ts'

const MOST = 1_000_000
const LIMIT = integer(0, MOST)
const ABORT = {
  expected: 'an AbortSignal',
  accepts: (value: unknown) => value instanceof AbortSignal,
}
const TENANT = { expected: 'a text', accepts: (value: unknown) => typeof value === 'string' }
const SEMAPHORE = {
  limit: anyOf(LIMIT, callback),
  lease: durationValidator,
  fair: boolean,
  tenant: TENANT,
}
const PLACE = { wait: durationValidator, signal: ABORT }
const CONCURRENCY = {
  limit: anyOf(LIMIT, callback),
  key: callback,
  lease: durationValidator,
  wait: durationValidator,
  fair: boolean,
  status: { expected: '429 or 503', accepts: (value: unknown) => value === 429 || value === 503 },
  fail: oneOf('closed', 'open'),
  name: identifier,
}

const DEFAULT_TTL = '30s'
/** A lease that a slow reply outlasts is none. */
const SHORTEST = 50

/** The semaphores of an instance. */
export interface Semaphores<Native, Middleware> {
  /**
   * At most `limit` holders at a time, over all processes.
   * @throws TP_OPTION for an option that cannot be used
   */
  semaphore(name: string, options: SemaphoreOptions): Semaphore
  /**
   * At most `limit` requests in flight; others wait, or are answered 503 (429 with a `key`) with Retry-After.
   * @throws TP_OPTION for an option that cannot be used
   */
  concurrency(options: ConcurrencyOptions<Native>): Middleware
}

type Work<Result> = (signal: AbortSignal) => Promise<Result> | Result

/** Creates the semaphores of an instance. Their store is opened when a permit is asked for first. */
export function createSemaphores<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
): {
  api: Semaphores<Native, Middleware>
  forTenant(tenant: string): Pick<Semaphores<Native, Middleware>, 'semaphore'>
} {
  let engines:
    | { context: ExtensionContext<Native>; engine: SemaphoreEngine; requests: SemaphoreEngine }
    | undefined
  const opened = (): NonNullable<typeof engines> => {
    if (engines) return engines
    const of = (space: string): SemaphoreEngine => new SemaphoreEngine(context, space)
    engines = { context, engine: of('semaphore'), requests: of('concurrency') }
    const { engine, requests } = engines
    context.onClose(async () => void (await Promise.all([engine.close(), requests.close()])))
    return engines
  }

  function semaphore(name: string, options: SemaphoreOptions): Semaphore {
    const where = `tp.semaphore('${name}')`
    if (!nonEmptyString.accepts(name))
      throw optionError('tp.semaphore()', 'name', name, nonEmptyString.expected)
    validateOptions(where, options, SEMAPHORE)
    const { limit, fair = false, tenant } = options
    if (limit === undefined) throw optionError(where, 'limit', limit, SEMAPHORE.limit.expected)
    const ttl = durationOption(options.lease ?? DEFAULT_TTL, where, 'lease', SHORTEST)
    const { context, engine } = opened()
    const tag = context.keys.tag(name, requireTenant(context, tenant, where))
    const limitNow = async (): Promise<number> =>
      checked(typeof limit === 'function' ? await limit() : limit, where)

    async function acquire(asked: PermitOptions = {}): Promise<Permit> {
      validateOptions(`${where}.acquire()`, asked, PLACE)
      const wait = durationOption(asked.wait ?? 0, where, 'wait', 0)
      const outcome = await engine.enter(tag, {
        name,
        ttl,
        wait,
        fair,
        limit: limitNow,
        signal: asked.signal,
      })
      if (outcome.lease === undefined) {
        throw new TurnpikeError(
          'TP_SEMAPHORE_FULL',
          `The semaphore ${name} has no free place; the earliest lease ends in ${outcome.waitMs} ms unless it is renewed.`,
          { status: 503 },
        )
      }
      const { lease, release } = outcome
      return {
        get signal() {
          return lease.signal
        },
        get lost() {
          return lease.isLost
        },
        release,
        async [Symbol.asyncDispose]() {
          await release()
        },
      }
    }

    async function using<Result>(
      first: PermitOptions | Work<Result>,
      second?: Work<Result>,
    ): Promise<Result> {
      const [asked, work] = isFunction(first) ? [{}, first] : [first, second]
      if (!isFunction(work)) throw optionError(`${where}.using()`, 'work', work, 'a function')
      const place = await acquire(asked)
      try {
        const result = await work(place.signal)
        if (!place.lost) return result
        throw new TurnpikeError(
          'TP_LOCK_LOST',
          `The place in ${name} was lost before the work was done.`,
          { status: 503 },
        )
      } finally {
        await place.release()
      }
    }

    return { acquire, using, count: () => engine.count(tag) }
  }

  function concurrency(options: ConcurrencyOptions<Native>): Middleware {
    const where = 'tp.concurrency()'
    validateOptions(where, options, CONCURRENCY)
    const { limit, key, fair = false, fail = 'closed', name = 'default' } = options
    if (limit === undefined) throw optionError(where, 'limit', limit, CONCURRENCY.limit.expected)
    const { context, requests } = opened()
    return context.mount(
      concurrencyFeature(context, requests, {
        name,
        ttl: durationOption(options.lease ?? DEFAULT_TTL, where, 'lease', SHORTEST),
        wait: durationOption(options.wait ?? 0, where, 'wait', 0),
        fair,
        fail,
        status: options.status ?? (key ? 429 : 503),
        limitOf: async (native) =>
          checked(typeof limit === 'function' ? await limit(native) : limit, where),
        async tagOf(native) {
          const tenant = await context.tenantOf(native)
          if (!key) return context.keys.tag(name, tenant)
          const subject = await key(native)
          // Another mount's subjects are others.
          const whole = Array.isArray(subject)
            ? [name, ...(subject as string[])]
            : typeof subject === 'string' || typeof subject === 'number'
              ? [name, String(subject)]
              : subject
          return subjectTag(context.keys, whole, tenant, where)
        },
      }),
    )
  }

  return {
    api: { semaphore, concurrency },
    forTenant: (tenant) => ({
      semaphore: (name, options) => semaphore(name, { ...options, tenant }),
    }),
  }
}

/** A limit that was worked out. @throws TP_VALUE when it is none */
function checked(limit: unknown, where: string): number {
  if (LIMIT.accepts(limit)) return limit as number
  throw new TurnpikeError(
    'TP_VALUE',
    `${where}: limit must be ${LIMIT.expected}; it is ${typeof limit === 'number' ? limit : typeof limit}.`,
  )
}
