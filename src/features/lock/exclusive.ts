/** `tp.exclusive()`: one request at a time for each resource. */
import type { ExtensionContext } from '../../extension.ts'
import type { Feature } from '../../http/exchange.ts'
import {
  anyOf,
  boolean,
  callback,
  identifier,
  nonEmptyString,
  oneOf,
  optionError,
  validateOptions,
} from '../../validate.ts'
import { leaseTimes, requestLeaseTimes } from '../lease-options.ts'
import type { RequestHoldings } from '../request-holdings.ts'
import { createRequestLease } from '../request-lease.ts'
import { subjectTag } from '../../store/subject.ts'
import type { LockEngine } from './engine.ts'
import { createHeldLock } from './held-lock.ts'
import type { ExclusiveOptions } from './options.ts'

const EXCLUSIVE = {
  ...leaseTimes,
  key: anyOf(nonEmptyString, callback),
  fair: boolean,
  fail: oneOf('closed', 'open'),
  reply: callback,
  name: identifier,
}

/** Creates the feature. @throws TP_OPTION */
export function createExclusive<Native>(
  context: ExtensionContext<Native>,
  engine: LockEngine,
  holdings: RequestHoldings,
  options: ExclusiveOptions<Native>,
): Feature<Native> {
  const where = 'tp.exclusive()'
  validateOptions(where, options, EXCLUSIVE)
  const { key, fair = false, fail = 'closed' } = options
  if (!key) throw optionError(where, 'key', key, EXCLUSIVE.key.expected)
  const name = options.name ?? (identifier.accepts(key) ? String(key) : 'exclusive')
  const times = requestLeaseTimes(where, options)
  const { lease: leaseMs, wait: waitMs } = times
  context.events.counts.describe('exclusive', name, { fail, fair, leaseMs, waitMs })

  async function tagOf(native: Native): Promise<string> {
    const subject = typeof key === 'string' ? key : await key(native)
    return subjectTag(context.keys, subject, await context.tenantOf(native), where)
  }

  return createRequestLease(context, {
    middleware: 'exclusive',
    feature: 'lock',
    name,
    wait: times.wait,
    fail,
    reply: options.reply,
    unavailable: 'The resource could not be locked, so nothing was done. Try again shortly.',
    holdings,
    tagOf,
    acquire: (tag, _native, budget) =>
      engine.acquire(tag, { name, ...times, fair, isWork: true, budget }),
    refusal: {
      status: 423,
      code: 'TP_LOCKED',
      detail: 'Another request is using this resource. Try again later.',
    },
    plan: (held, release) => ({
      state: { lock: createHeldLock(held) },
      // The handler has ended its response, whether or not the client is still there.
      beforeEnd() {
        release()
        return undefined
      },
      onAbort: release,
      onFinish({ finished }) {
        if (finished) release()
        // The client has gone, and the handler may still be at work: the lease runs out by itself.
        else held.lease.lapse()
      },
    }),
  })
}
