/** Locks: `tp.lock()`, `tp.exclusive()`, `tp.once()`. */
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
import { durationOption, durationValidator, type Duration } from '../../duration.ts'
import { TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import { subjectTag, requireTenant } from '../../store/subject.ts'
import { LockEngine, type Asking, type Held } from './engine.ts'
import { exclusiveFeature } from './feature.ts'
import { locked, lockOf, lost } from './lock.ts'
import type {
  ExclusiveOptions,
  HeldLock,
  LockOptions,
  LockFunction,
  OnceResult,
  OnceOptions,
} from './options.ts'
import { locksOf, type TenantLocks } from './tenant.ts'

const ABORT = {
  expected: 'an AbortSignal',
  accepts: (value: unknown) => value instanceof AbortSignal,
}
const TENANT = { expected: 'a text', accepts: (value: unknown) => typeof value === 'string' }
const LOCK = {
  lease: durationValidator,
  wait: durationValidator,
  signal: ABORT,
  fair: boolean,
  waitReplicas: integer(0, 100),
  tenant: TENANT,
}
const EXCLUSIVE = {
  key: anyOf(nonEmptyString, callback),
  lease: durationValidator,
  wait: durationValidator,
  fair: boolean,
  fail: oneOf('closed', 'open'),
  name: identifier,
}

const DEFAULT_TTL = '30s'
/** A lease that a slow reply outlasts is none. */
export const SHORTEST_LEASE = 50

/** The locks of an instance. */
export interface Locking<Native, Middleware> extends TenantLocks {
  /**
   * One request at a time per resource: others wait, or are answered 423 with Retry-After. The handler
   * finds the lock in `req.lock` (Koa: `ctx.state.lock`).
   * @throws TP_OPTION for an option that cannot be used
   */
  exclusive(options: ExclusiveOptions<Native>): Middleware
}

/** Creates the locks of an instance. Their store is opened when something is locked first. */
export function createLocking<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
): { api: Locking<Native, Middleware>; forTenant(tenant: string): TenantLocks } {
  let engines:
    | { context: ExtensionContext<Native>; locks: LockEngine; runs: LockEngine }
    | undefined
  const opened = (): NonNullable<typeof engines> => {
    if (engines) return engines
    engines = {
      context,
      locks: new LockEngine(context, 'lock'),
      runs: new LockEngine(context, 'once'),
    }
    const { locks, runs } = engines
    context.onClose(async () => void (await Promise.all([locks.close(), runs.close()])))
    return engines
  }

  async function acquire(
    given: string | readonly string[],
    options: LockOptions = {},
  ): Promise<HeldLock> {
    const where = 'tp.lock()'
    const names = namesOf(given, where)
    const { context, locks } = opened()
    validateOptions(where, options, LOCK)
    const { fair = false, waitReplicas = 0, signal, tenant } = options
    if (waitReplicas > 0 && context.store.cluster)
      throw optionError(where, 'waitReplicas', waitReplicas, 'left out on a Cluster')
    const ttl = durationOption(options.lease ?? DEFAULT_TTL, where, 'lease', SHORTEST_LEASE)
    const wait = durationOption(options.wait ?? 0, where, 'wait', 0)
    const until = context.store.monotonic() + wait
    const owner = requireTenant(context, tenant, where)
    const held: (readonly [string, Held])[] = []
    try {
      for (const name of names) {
        const left = Math.max(0, until - context.store.monotonic())
        const asking: Asking = {
          name,
          ttl,
          wait: wait === 0 ? 0 : left,
          fair,
          waitReplicas,
          signal,
        }
        const outcome = await locks.acquire(context.keys.tag(name, owner), asking)
        if (outcome.token === undefined) throw locked(name, outcome.waitMs)
        held.push([name, outcome])
      }
    } catch (error) {
      await Promise.all(held.map(([, each]) => each.release()))
      throw error
    }
    return lockOf(held)
  }

  const lock: LockFunction = Object.assign(
    async <Result>(
      names: string | readonly string[],
      options: LockOptions,
      work: (signal: AbortSignal, holding: HeldLock) => Promise<Result> | Result,
    ): Promise<Result> => {
      if (!isFunction(work))
        throw optionError('tp.lock()', 'work', work, 'a function, after the name and the options')
      const own = await acquire(names, options)
      try {
        const result = await work(own.signal, own)
        if (own.lost) throw lost(Object.keys(own.tokens))
        return result
      } finally {
        await own.release()
      }
    },
    { acquire },
  )

  async function once<Result>(
    key: string,
    ttl: Duration,
    work: (signal: AbortSignal) => Promise<Result> | Result,
    options: OnceOptions = {},
  ): Promise<OnceResult<Result>> {
    const where = 'tp.once()'
    if (!nonEmptyString.accepts(key)) throw optionError(where, 'key', key, nonEmptyString.expected)
    validateOptions(where, options, { lease: durationValidator, tenant: TENANT })
    const rest = durationOption(ttl, where, 'ttl', SHORTEST_LEASE)
    const lease = durationOption(options.lease ?? DEFAULT_TTL, where, 'lease', SHORTEST_LEASE)
    const { context, runs } = opened()
    const tag = context.keys.tag(key, requireTenant(context, options.tenant, where))
    const held = await runs.acquire(tag, {
      name: key,
      ttl: lease,
      wait: 0,
      fair: false,
      waitReplicas: 0,
    })
    if (held.token === undefined) return { ran: false }
    try {
      const value = await work(held.lease.signal)
      if (held.lease.isLost) throw lost([key])
      await held.settle(rest)
      return { ran: true, value }
    } finally {
      // After settle() this does nothing.
      await held.release()
    }
  }

  function exclusive(options: ExclusiveOptions<Native>): Middleware {
    const where = 'tp.exclusive()'
    validateOptions(where, options, EXCLUSIVE)
    const { key, fair = false, fail = 'closed' } = options
    if (!key) throw optionError(where, 'key', key, EXCLUSIVE.key.expected)
    const fallback = typeof key === 'string' && identifier.accepts(key) ? key : 'exclusive'
    const { context, locks } = opened()
    return context.mount(
      exclusiveFeature(context, locks, {
        name: options.name ?? fallback,
        ttl: durationOption(options.lease ?? DEFAULT_TTL, where, 'lease', SHORTEST_LEASE),
        wait: durationOption(options.wait ?? 0, where, 'wait', 0),
        fair,
        fail,
        async tagOf(native) {
          const subject = typeof key === 'string' ? key : await key(native)
          return subjectTag(context.keys, subject, await context.tenantOf(native), where)
        },
      }),
    )
  }

  return {
    api: { lock, once, exclusive },
    forTenant: (tenant) => locksOf({ lock, once }, tenant),
  }
}

/** In the order in which everybody takes them; each once. */
function namesOf(given: string | readonly string[], where: string): string[] {
  const names = typeof given === 'string' ? [given] : given
  if (
    !Array.isArray(names) ||
    names.length === 0 ||
    !names.every((name) => nonEmptyString.accepts(name))
  ) {
    throw new TurnpikeError(
      'TP_KEY',
      `${where}: the name must be a text that is not empty, or a list of such texts.`,
    )
  }
  return [...new Set(names as string[])].sort()
}
