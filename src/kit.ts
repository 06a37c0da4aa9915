/** Assembles the features over one foundation; the only file that knows them all. */
import { Shelf } from './caching/shelf.ts'
import { optionError } from './check.ts'
import { duration } from './duration.ts'
import { redisFromEnvironment } from './environment.ts'
import { caching } from './features/cache/index.ts'
import { data } from './features/data/index.ts'
import type { Ground } from './features/ground.ts'
import { health } from './features/health/index.ts'
import { idempotency } from './features/idempotency/index.ts'
import { locking, locksOf } from './features/lock/index.ts'
import {
  keyHelpers,
  limits,
  loginGuard,
  namedLimiter,
  rateLimit,
} from './features/rate-limit/index.ts'
import { semaphores } from './features/semaphore/index.ts'
import { sessions } from './features/session/index.ts'
import { foundation } from './foundation.ts'
import { edge } from './http/edge.ts'
import type { Feature } from './http/exchange.ts'
import type { KeySpace } from './store/keys.ts'
import type { Entry, Framework, Turnpike, TurnpikeOptions } from './turnpike.ts'

/** The entry for a framework. */
export function entry<Native, Middleware extends object>(
  framework: Framework<Native, Middleware>,
): Entry<Native, Middleware> {
  const turnpike = (options?: TurnpikeOptions<Native>): Turnpike<Native, Middleware> =>
    kit(framework, options)
  const fromEnv: Entry<Native, Middleware>['fromEnv'] = (options) => {
    const redis = redisFromEnvironment()
    return turnpike(redis ? { redis, ...options } : options)
  }
  return Object.assign(turnpike, { fromEnv })
}

function kit<Native, Middleware extends object>(
  framework: Framework<Native, Middleware>,
  options: TurnpikeOptions<Native> = {},
): Turnpike<Native, Middleware> {
  const { events, stores, budgetMs, ground } = foundation(options)
  const adapter = framework({ budgetMs, warn: (message) => events.warn(message) })
  const limiting = ground('rateLimit')
  const mount = (feature: Feature<Native>): Middleware => adapter.mount(feature)
  const locks = locking(() => ground('lock'), mount)
  let shelf: Shelf | undefined
  const opened = (): { ground: Ground<Native>; shelf: Shelf } => {
    const own = ground('cache')
    return { ground: own, shelf: (shelf ??= new Shelf(own.store, own.keys, events)) }
  }
  const caches = caching(opened, mount)
  const places = semaphores(() => ground('lock'), mount)

  return {
    rateLimit(given) {
      const { feature, limiter } = rateLimit(limiting, given)
      return Object.assign(adapter.mount(feature), limiter)
    },
    loginGuard(given) {
      const { feature, guard } = loginGuard(limiting, given)
      return Object.assign(adapter.mount(feature), guard)
    },
    limiter: (name, given) => namedLimiter(limiting, name, given),
    limits: limits(limiting),
    ...sessions(
      () => ground('session'),
      (feature) => adapter.mount(feature),
    ),
    idempotency: (given) => mount(idempotency(ground('idempotency'), given)),
    ...caches.caching,
    data: data(opened),
    ...locks.locks,
    ...places.semaphores,
    key: keyHelpers((native) => adapter.exchange(native)),
    health: (given) =>
      adapter.mount(health(limiting.store, () => stores.status(), given, caches.hitRate)),
    pipeline: (...members) => adapter.pipeline(members),
    forTenant(id) {
      if (typeof id !== 'string') throw optionError('tp.forTenant()', 'id', id, 'a text')
      const theirs: Ground = { ...limiting, keys: within(limiting.keys, id), tenant: undefined }
      return {
        limiter: (name, given) => namedLimiter(theirs, name, given),
        limits: limits(theirs),
        ...locksOf(locks.locks, id),
        semaphore: (name, given) => places.semaphores.semaphore(name, { ...given, tenant: id }),
      }
    },
    edge(app) {
      if (typeof app !== 'function')
        throw optionError(
          'tp.edge()',
          'app',
          app,
          "a function (req, res); of Koa's: app.callback()",
        )
      return edge(app, caches.atEdge)
    },
    on: (name, listener) => events.on(name, listener),
    async ready(timeout = '10s') {
      const ms = duration(timeout, 'tp.ready()', 'timeout')
      await Promise.all(stores.all().map((each) => each.ready(ms)))
    },
    status: () => stores.status(),
    close,
    [Symbol.asyncDispose]: close,
  }

  async function close(): Promise<void> {
    // The floor stays: requests that are still being served are limited to the end.
    await Promise.allSettled([locks.close(), places.close()])
    await Promise.all(stores.all().map((each) => each.close()))
  }
}

/** The keys of one tenant. */
const within = (keys: KeySpace, tenant: string): KeySpace => ({
  ...keys,
  tag: (subject) => keys.tag(subject, tenant),
})
