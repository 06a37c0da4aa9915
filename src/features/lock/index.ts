/** Locks: `tp.lock()`, `tp.exclusive()`, `tp.once()`. */
import {
  boolean,
  callback,
  check,
  either,
  identifier,
  isFunction,
  optionError,
  text,
  whole,
  word,
} from '../../check.ts'
import { duration, durations, type Duration } from '../../duration.ts'
import { TurnpikeError } from '../../errors.ts'
import type { Feature } from '../../http/exchange.ts'
import type { Ground } from '../ground.ts'
import { tagOf, tenantOf } from '../subject.ts'
import { LockEngine, type Asking, type Held } from './engine.ts'
import { exclusiveFeature } from './feature.ts'
import { locked, lockOf, lost } from './lock.ts'
import type { ExclusiveOptions, Lock, LockOptions, Locks, Once, OnceOptions } from './options.ts'
import type { TenantLocks } from './tenant.ts'

const ABORT = {
  expected: 'an AbortSignal',
  accepts: (value: unknown) => value instanceof AbortSignal,
}
const TENANT = { expected: 'a text', accepts: (value: unknown) => typeof value === 'string' }
const LOCK = {
  ttl: durations,
  wait: durations,
  signal: ABORT,
  fair: boolean,
  waitReplicas: whole(0, 100),
  tenant: TENANT,
}
const EXCLUSIVE = {
  key: either(text, callback),
  ttl: durations,
  wait: durations,
  fair: boolean,
  fail: word('closed', 'open'),
  name: identifier,
}

const DEFAULT_TTL = '30s'
/** A lease that a slow reply outlasts is none. */
export const SHORTEST = 50

/** The locks of an instance. */
export interface Locking<Native, Middleware> extends TenantLocks {
  /**
   * One request at a time per resource: others wait, or are answered 423 with Retry-After. The handler
   * finds the lock in `req.lock` (Koa: `ctx.state.lock`).
   * @throws TP_OPTION for an option that cannot be used
   */
  exclusive(options: ExclusiveOptions<Native>): Middleware
}

/** @param open gives the ground; it is not asked before something is locked */
export function locking<Native, Middleware>(
  open: () => Ground<Native>,
  mount: (feature: Feature<Native>) => Middleware,
): { locks: Locking<Native, Middleware>; close(): Promise<void> } {
  let engines: { ground: Ground<Native>; locks: LockEngine; runs: LockEngine } | undefined
  const opened = (): NonNullable<typeof engines> => {
    if (engines) return engines
    const ground = open()
    engines = {
      ground,
      locks: new LockEngine(ground, 'lock'),
      runs: new LockEngine(ground, 'once'),
    }
    return engines
  }

  async function acquire(
    given: string | readonly string[],
    options: LockOptions = {},
  ): Promise<Lock> {
    const where = 'tp.lock()'
    const names = namesOf(given, where)
    const { ground, locks } = opened()
    check(where, options, LOCK)
    const { fair = false, waitReplicas = 0, signal, tenant } = options
    if (waitReplicas > 0 && ground.store.cluster)
      throw optionError(where, 'waitReplicas', waitReplicas, 'left out on a Cluster')
    const ttl = duration(options.ttl ?? DEFAULT_TTL, where, 'ttl', SHORTEST)
    const wait = duration(options.wait ?? 0, where, 'wait', 0)
    const until = ground.store.steady() + wait
    const owner = tenantOf(ground, tenant, where)
    const held: (readonly [string, Held])[] = []
    try {
      for (const name of names) {
        const left = Math.max(0, until - ground.store.steady())
        const asking: Asking = {
          name,
          ttl,
          wait: wait === 0 ? 0 : left,
          fair,
          waitReplicas,
          signal,
        }
        const outcome = await locks.acquire(ground.keys.tag(name, owner), asking)
        if (outcome.token === undefined) throw locked(name, outcome.waitMs)
        held.push([name, outcome])
      }
    } catch (error) {
      await Promise.all(held.map(([, each]) => each.release()))
      throw error
    }
    return lockOf(held)
  }

  const lock: Locks = Object.assign(
    async <Result>(
      names: string | readonly string[],
      options: LockOptions,
      work: (signal: AbortSignal, holding: Lock) => Promise<Result> | Result,
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
  ): Promise<Once<Result>> {
    const where = 'tp.once()'
    if (!text.accepts(key)) throw optionError(where, 'key', key, text.expected)
    check(where, options, { lease: durations, tenant: TENANT })
    const rest = duration(ttl, where, 'ttl', SHORTEST)
    const lease = duration(options.lease ?? DEFAULT_TTL, where, 'lease', SHORTEST)
    const { ground, runs } = opened()
    const tag = ground.keys.tag(key, tenantOf(ground, options.tenant, where))
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
    check(where, options, EXCLUSIVE)
    const { key, fair = false, fail = 'closed' } = options
    if (!key) throw optionError(where, 'key', key, EXCLUSIVE.key.expected)
    const fallback = typeof key === 'string' && identifier.accepts(key) ? key : 'exclusive'
    const { ground, locks } = opened()
    return mount(
      exclusiveFeature(ground, locks, {
        name: options.name ?? fallback,
        ttl: duration(options.ttl ?? DEFAULT_TTL, where, 'ttl', SHORTEST),
        wait: duration(options.wait ?? 0, where, 'wait', 0),
        fair,
        fail,
        async tagOf(native) {
          const subject = typeof key === 'string' ? key : await key(native)
          return tagOf(ground.keys, subject, await ground.tenant?.(native), where)
        },
      }),
    )
  }

  return {
    locks: { lock, once, exclusive },
    async close() {
      await Promise.all([engines?.locks.close(), engines?.runs.close()])
    },
  }
}

/** In the order in which everybody takes them; each once. */
function namesOf(given: string | readonly string[], where: string): string[] {
  const names = typeof given === 'string' ? [given] : given
  if (!Array.isArray(names) || names.length === 0 || !names.every((name) => text.accepts(name))) {
    throw new TurnpikeError(
      'TP_KEY',
      `${where}: the name must be a text that is not empty, or a list of such texts.`,
    )
  }
  return [...new Set(names as string[])].sort()
}

export { locksOf } from './tenant.ts'
