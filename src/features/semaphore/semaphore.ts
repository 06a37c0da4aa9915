/** `tp.semaphore()`, for an instance or one of its tenants. */
import { TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { Subject } from '../../store/keys.ts'
import {
  anyOf,
  boolean,
  callback,
  isFunction,
  optionError,
  validateOptions,
} from '../../validate.ts'
import { HeldLease, runUnderLease } from '../lease-engine.ts'
import { nameTag, printName } from '../lease-name.ts'
import { abortSignal, leaseTimes, leaseTimesOf, tenantName } from '../lease-options.ts'
import { requireTenant } from '../../store/subject.ts'
import type { SemaphoreEngine } from './engine.ts'
import { permitCount, validLimit } from './limit.ts'
import type { Permit, PermitOptions, Semaphore, SemaphoreOptions } from './options.ts'

const SEMAPHORE = {
  limit: anyOf(permitCount, callback),
  lease: leaseTimes.lease,
  maxLease: leaseTimes.maxLease,
  fair: boolean,
  tenant: tenantName,
}
const PERMIT = { wait: leaseTimes.wait, signal: abortSignal }

type Work<Result> = (signal: AbortSignal) => Promise<Result> | Result

/**
 * Creates a semaphore.
 * @param context has the keys: those of the instance, or of a tenant
 * @throws TP_OPTION, TP_KEY
 */
export function createSemaphore(
  context: ExtensionContext,
  engine: SemaphoreEngine,
  name: Subject,
  options: SemaphoreOptions,
): Semaphore {
  const printed = Array.isArray(name) ? printName(name) : String(name)
  const where = `tp.semaphore('${printed}')`
  validateOptions(where, options, SEMAPHORE)
  const { limit, fair = false, tenant } = options
  if (limit === undefined) throw optionError(where, 'limit', limit, SEMAPHORE.limit.expected)
  const { lease, maxLease } = leaseTimesOf(where, options)
  context.claimName({
    where,
    kind: 'semaphore',
    name: printed,
    isExplicit: true,
    settings: { limit, fair },
  })
  const shown = typeof limit === 'function' ? null : limit
  context.events.counts.describe('semaphore', printed, { limit: shown, fair, leaseMs: lease })
  const tag = nameTag(context.keys, name, requireTenant(context, tenant, where), where)
  const currentLimit = async (): Promise<number> =>
    validLimit(typeof limit === 'function' ? await limit() : limit, where)

  async function take(asked: PermitOptions, isWork: boolean): Promise<HeldLease> {
    validateOptions(where, asked, PERMIT)
    const { wait } = leaseTimesOf(where, asked)
    const { signal } = asked
    const request = {
      name: printed,
      lease,
      maxLease,
      wait,
      fair,
      limit: currentLimit,
      isWork,
      signal,
    }
    const outcome = await engine.acquire(tag, request)
    if (outcome instanceof HeldLease) return outcome
    throw new TurnpikeError(
      'TP_SEMAPHORE_FULL',
      `All permits of the semaphore ${printed} are held. The earliest lease ends in ${outcome.waitMs} ms unless it is renewed. To wait for a permit, use \`wait\`.`,
      { status: 503 },
    )
  }

  async function using<Result>(
    first: PermitOptions | Work<Result>,
    second?: Work<Result>,
  ): Promise<Result> {
    const [asked, work] = isFunction(first) ? [{}, first] : [first, second]
    if (!isFunction(work))
      throw optionError(`${where}.using()`, 'work', work, 'a function, as the last argument')
    const held = await take(asked, true)
    return await runUnderLease(held, () => work(held.lease.signal))
  }

  return {
    acquire: async (asked = {}) => createPermit(await take(asked, false)),
    using,
    count: () => engine.count(tag),
    holders: () => engine.holders(tag),
  }
}

/** Returns the permit that a caller gets. */
export function createPermit(held: HeldLease): Permit {
  return {
    get signal() {
      return held.lease.signal
    },
    get lost() {
      return held.lease.isLost
    },
    release: () => held.release(),
    async [Symbol.asyncDispose]() {
      await held.release()
    },
  }
}
