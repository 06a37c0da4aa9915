/** `tp.concurrency()`: a limited number of requests in flight. */
import type { ExtensionContext } from '../../extension.ts'
import type { Feature } from '../../http/exchange.ts'
import {
  anyOf,
  boolean,
  callback,
  identifier,
  oneOf,
  optionError,
  validateOptions,
} from '../../validate.ts'
import { leaseTimes, requestLeaseTimes } from '../lease-options.ts'
import type { RequestHoldings } from '../request-holdings.ts'
import { createRequestLease } from '../request-lease.ts'
import { subjectTag } from '../../store/subject.ts'
import type { SemaphoreEngine } from './engine.ts'
import { permitCount, validLimit } from './limit.ts'
import type { ConcurrencyOptions } from './options.ts'
import { createPermit } from './semaphore.ts'

const CONCURRENCY = {
  ...leaseTimes,
  limit: anyOf(permitCount, callback),
  key: callback,
  fair: boolean,
  status: { expected: '429 or 503', accepts: (value: unknown) => value === 429 || value === 503 },
  fail: oneOf('closed', 'open'),
  reply: callback,
  name: identifier,
}

/** Creates the feature. @throws TP_OPTION */
export function createConcurrency<Native>(
  context: ExtensionContext<Native>,
  engine: SemaphoreEngine,
  holdings: RequestHoldings,
  options: ConcurrencyOptions<Native>,
): Feature<Native> {
  const where = 'tp.concurrency()'
  validateOptions(where, options, CONCURRENCY)
  const { limit, key, fair = false, fail = 'closed' } = options
  if (limit === undefined) throw optionError(where, 'limit', limit, CONCURRENCY.limit.expected)
  const { status = key ? 429 : 503, name = derivedName(limit, key) } = options
  context.claimName({
    where,
    kind: 'concurrency limit',
    name,
    isExplicit: options.name !== undefined,
    settings: { limit, fair },
  })
  const times = requestLeaseTimes(where, options)
  const shown = typeof limit === 'function' ? null : limit
  const { lease: leaseMs, wait: waitMs } = times
  context.events.counts.describe('concurrency', name, {
    fail,
    limit: shown,
    fair,
    leaseMs,
    waitMs,
  })

  async function tagOf(native: Native): Promise<string> {
    const tenant = await context.tenantOf(native)
    if (!key) return context.keys.tag(name, tenant)
    const subject = await key(native)
    subjectTag(context.keys, subject, tenant, where)
    // The name comes first: subjects of another mount are different subjects.
    const parts = Array.isArray(subject) ? (subject as string[]) : [String(subject)]
    return context.keys.tag([name, ...parts], tenant)
  }

  return createRequestLease(context, {
    middleware: 'concurrency',
    feature: 'semaphore',
    name,
    wait: times.wait,
    fail,
    reply: options.reply,
    unavailable:
      'The requests in flight could not be counted, so nothing was done. Try again shortly.',
    holdings,
    tagOf,
    acquire: (tag, native, budget) =>
      engine.acquire(tag, {
        name,
        ...times,
        fair,
        isWork: true,
        budget,
        limit: async () =>
          validLimit(typeof limit === 'function' ? await limit(native) : limit, where),
      }),
    refusal: {
      status,
      code: 'TP_SEMAPHORE_FULL',
      detail: 'Too many requests are in flight. Try again later.',
    },
    plan: (held, release) => ({ state: { permit: createPermit(held) }, onFinish: release }),
  })
}

/** Derives a name from the settings: the order of mounting may differ between processes. */
function derivedName(limit: unknown, key: unknown): string {
  const size = typeof limit === 'number' ? String(limit) : 'fn'
  return key === undefined ? size : `${size}-by-key`
}
