/** `tp.lock()`, `tp.lock.all()`, `tp.locks` and `tp.once()`, for an instance or one of its tenants. */
import { durationOption, durationValidator, type Duration } from '../../duration.ts'
import { TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { Subject } from '../../store/keys.ts'
import {
  boolean,
  integer,
  isFunction,
  optionError,
  optionRuleError,
  validateOptions,
} from '../../validate.ts'
import { HeldLease, runUnderLease } from '../lease-engine.ts'
import { nameTag, printName } from '../lease-name.ts'
import {
  abortSignal,
  leaseTimes,
  leaseTimesOf,
  SHORTEST_LEASE,
  tenantName,
} from '../lease-options.ts'
import { requireTenant } from '../../store/subject.ts'
import { createLockControl } from './control.ts'
import type { LockEngine, LockRequest } from './engine.ts'
import { createHeldLock, createHeldLocks, HeldLeases, lockedError } from './held-lock.ts'
import type {
  AllLocksFunction,
  LockFunction,
  LockHolding,
  LockOptions,
  LockScope,
  LocksHolding,
  OnceOptions,
  OnceResult,
} from './options.ts'

const LOCK = {
  ...leaseTimes,
  signal: abortSignal,
  fair: boolean,
  waitReplicas: integer(0, 100),
  tenant: tenantName,
}
const ONCE = { lease: durationValidator, tenant: tenantName }

/** The engines of an instance. */
export interface LockEngines {
  /** Locks of `tp.lock()` and `tp.exclusive()`. */
  readonly locks: LockEngine
  /** Runs of `tp.once()`. */
  readonly runs: LockEngine
}

/**
 * Creates `lock`, `locks` and `once`.
 * @param context has the keys: those of the instance, or of a tenant
 * @param engines opens the store, when something is locked first
 */
export function createLockScope(context: ExtensionContext, engines: () => LockEngines): LockScope {
  return {
    lock: createLockFunction(context, engines),
    locks: createLockControl(context, () => engines().locks),
    once: createOnce(context, engines),
  }
}

function createLockFunction(context: ExtensionContext, engines: () => LockEngines): LockFunction {
  const where = 'tp.lock()'
  async function take(name: Subject, options: LockOptions, isWork: boolean): Promise<HeldLease> {
    const request = { ...lockRequest(context, options, where), isWork }
    const tag = nameTag(context.keys, name, requireTenant(context, options.tenant, where), where)
    return await acquireOrThrow(engines().locks, tag, { ...request, name: printName(name) })
  }
  async function lock<Result>(
    name: Subject,
    options: LockOptions,
    work: (signal: AbortSignal, holding: LockHolding) => Promise<Result> | Result,
  ): Promise<Result> {
    requireWork(where, options, work)
    const held = await take(name, options, true)
    const holding = createHeldLock(held)
    return await runUnderLease(held, () => work(holding.signal, holding))
  }
  return Object.assign(lock, {
    acquire: async (name: Subject, options: LockOptions = {}) =>
      createHeldLock(await take(name, options, false)),
    all: createLockAll(context, engines),
  })
}

function createLockAll(context: ExtensionContext, engines: () => LockEngines): AllLocksFunction {
  const where = 'tp.lock.all()'
  async function take(
    names: readonly Subject[],
    options: LockOptions,
    isWork: boolean,
  ): Promise<{ held: HeldLeases; tokens: number[] }> {
    const request = { ...lockRequest(context, options, where), isWork }
    const tenant = requireTenant(context, options.tenant, where)
    if (!Array.isArray(names) || names.length === 0)
      throw new TurnpikeError('TP_KEY', `${where}: the names must be a list that is not empty.`)
    const tags = Array.from(names, (name) => nameTag(context.keys, name, tenant, where))
    const byTag = new Map(tags.map((tag, i) => [tag, printName(names[i] as Subject)]))
    const { store } = context
    const until = store.monotonic() + request.wait
    const held = new Map<string, HeldLease>()
    try {
      // Every process takes locks in the order of their tags. Otherwise two callers could deadlock.
      for (const [tag, name] of [...byTag].sort(([a], [b]) => (a < b ? -1 : 1))) {
        const wait = request.wait === 0 ? 0 : Math.max(0, until - store.monotonic())
        held.set(tag, await acquireOrThrow(engines().locks, tag, { ...request, name, wait }))
      }
    } catch (error) {
      await Promise.all([...held.values()].map((each) => each.release()))
      throw error
    }
    return {
      held: new HeldLeases([...held.values()]),
      tokens: tags.map((tag) => held.get(tag)!.token),
    }
  }
  async function lockAll<Result>(
    names: readonly Subject[],
    options: LockOptions,
    work: (signal: AbortSignal, holding: LocksHolding) => Promise<Result> | Result,
  ): Promise<Result> {
    requireWork(where, options, work)
    const { held, tokens } = await take(names, options, true)
    const holding = createHeldLocks(held, tokens)
    return await runUnderLease(held, () => work(holding.signal, holding))
  }
  return Object.assign(lockAll, {
    async acquire(names: readonly Subject[], options: LockOptions = {}) {
      const { held, tokens } = await take(names, options, false)
      return createHeldLocks(held, tokens)
    },
  })
}

function createOnce(context: ExtensionContext, engines: () => LockEngines): LockScope['once'] {
  const where = 'tp.once()'
  return async <Result>(
    key: Subject,
    ttl: Duration,
    work: (signal: AbortSignal) => Promise<Result> | Result,
    options: OnceOptions = {},
  ): Promise<OnceResult<Result>> => {
    requireWork(where, ttl, work)
    validateOptions(where, options, ONCE)
    const pause = durationOption(ttl, where, 'ttl', SHORTEST_LEASE)
    const tag = nameTag(context.keys, key, requireTenant(context, options.tenant, where), where)
    const { runs } = engines()
    const { lease } = leaseTimesOf(where, options)
    const held = await runs.acquire(tag, {
      name: printName(key),
      lease,
      wait: 0,
      fair: false,
      isWork: true,
    })
    if (!(held instanceof HeldLease)) return { ran: false }
    const value = await runUnderLease(
      held,
      () => work(held.lease.signal),
      () => runs.cooldown(held, tag, pause),
    )
    return { ran: true, value }
  }
}

/** Returns a request without its name. @throws TP_OPTION */
function lockRequest(
  context: ExtensionContext,
  options: LockOptions,
  where: string,
): Omit<LockRequest, 'name' | 'isWork'> {
  validateOptions(where, options, LOCK)
  const { fair = false, waitReplicas = 0, signal } = options
  if (waitReplicas > 0 && context.store.cluster)
    throw optionError(where, 'waitReplicas', waitReplicas, 'left out on a Cluster')
  return { ...leaseTimesOf(where, options), fair, waitReplicas, signal }
}

/** @throws TP_LOCKED, TP_UNAVAILABLE */
async function acquireOrThrow(
  engine: LockEngine,
  tag: string,
  request: LockRequest,
): Promise<HeldLease> {
  const outcome = await engine.acquire(tag, request)
  if (outcome instanceof HeldLease) return outcome
  throw lockedError(request.name, outcome.waitMs)
}

/** @param before what comes before the work: the options, or the time of a single run */
function requireWork(where: string, before: unknown, work: unknown): void {
  if (isFunction(work)) return
  if (!isFunction(before))
    throw optionError(where, 'work', work, 'a function, as the last argument')
  const [option, call] =
    where === 'tp.once()' ? ['ttl', "(name, '1h', work)"] : ['the options', '(name, { … }, work)']
  const rule = `The second argument is missing. Write ${where.replace('()', call)}.`
  throw optionRuleError(where, option, before, rule)
}
