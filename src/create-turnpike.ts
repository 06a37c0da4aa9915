/** Assembles the built-in features over one instance context. The only file that knows them all. */
import { durationOption, durationValidator } from './duration.ts'
import { redisFromEnvironment } from './environment.ts'
import { CONTEXT } from './extension.ts'
import { createCaching } from './features/cache/index.ts'
import { createData } from './features/data/index.ts'
import { createHealth } from './features/health/index.ts'
import { createIdempotency } from './features/idempotency/index.ts'
import { createLocking } from './features/lock/index.ts'
import { createRateLimiting } from './features/rate-limit/index.ts'
import { createSemaphores } from './features/semaphore/index.ts'
import { createSessions } from './features/session/index.ts'
import { createCacheListener } from './http/cache-listener.ts'
import { createInstanceContext } from './instance-context.ts'
import { createAlerts } from './operations/alerts/index.ts'
import { createDashboard } from './operations/dashboard.ts'
import { createMetrics } from './operations/metrics.ts'
import { createServices } from './operations/services/index.ts'
import type { AdapterFactory, Turnpike, TurnpikeFactory, TurnpikeOptions } from './turnpike.ts'
import { isFunction, optionError, validateOptions } from './validate.ts'

/** Returns `turnpike()` for a framework. */
export function createFactory<Native, Middleware extends object>(
  framework: AdapterFactory<Native, Middleware>,
): TurnpikeFactory<Native, Middleware> {
  const turnpike = (options?: TurnpikeOptions<Native>): Turnpike<Native, Middleware> =>
    createTurnpike(framework, options)
  const fromEnv: TurnpikeFactory<Native, Middleware>['fromEnv'] = (options) => {
    const redis = redisFromEnvironment()
    return turnpike(redis ? { redis, ...options } : options)
  }
  return Object.assign(turnpike, { fromEnv })
}

/** Time that work in progress may take when an instance is closed, in ms. */
const DRAIN = 10_000

function createTurnpike<Native, Middleware extends object>(
  framework: AdapterFactory<Native, Middleware>,
  options: TurnpikeOptions<Native> = {},
): Turnpike<Native, Middleware> {
  const { adapter, close, contextFor, events, operations, rules, stores } = createInstanceContext(
    framework,
    options,
  )
  const rateLimiting = createRateLimiting(contextFor('rateLimit'), rules)
  const caching = createCaching(contextFor('cache'))
  const locking = createLocking(contextFor('lock'))
  const semaphores = createSemaphores(contextFor('lock'))
  const status = (): ReturnType<typeof stores.status> => stores.status()

  const services = createServices(contextFor('operations'))
  const dashboard = createDashboard(contextFor('operations'), async () => {
    const { DashboardRouter } = await import('./dashboard/index.ts')
    return new DashboardRouter(tp, contextFor('operations'))
  })

  const tp: Turnpike<Native, Middleware> = {
    [CONTEXT]: contextFor,
    ...rateLimiting.api,
    ...createSessions(contextFor('session')).api,
    ...caching.api,
    ...createData(contextFor('cache')).api,
    ...createIdempotency(contextFor('idempotency')).api,
    ...locking.api,
    ...semaphores.api,
    ...createHealth(contextFor('rateLimit'), {
      status,
      hitRate: caching.hitRate,
      services: services.states,
    }).api,
    ...services.api,
    ...operations,
    ...createAlerts(contextFor('operations')).api,
    ...dashboard.api,
    ...createMetrics(contextFor('rateLimit'), {
      status,
      rules,
      stores: () => stores.byName(),
    }).api,
    pipeline: (...members) => adapter.pipeline(members),
    forTenant(id) {
      if (typeof id !== 'string') throw optionError('tp.forTenant()', 'id', id, 'a string')
      return {
        ...rateLimiting.forTenant(id),
        ...locking.forTenant(id),
        ...semaphores.forTenant(id),
      }
    },
    cacheListener(app) {
      if (typeof app !== 'function')
        throw optionError(
          'tp.cacheListener()',
          'app',
          app,
          'a function (req, res). For Koa pass app.callback()',
        )
      return createCacheListener(app, caching.answerEarly)
    },
    on(name, listener) {
      if (typeof name !== 'string') throw optionError('tp.on()', 'name', name, 'a string')
      if (!isFunction(listener)) throw optionError('tp.on()', 'listener', listener, 'a function')
      events.warnOfName(name)
      return events.on(name, listener)
    },
    async ready(timeout = '10s') {
      const ms = durationOption(timeout, 'tp.ready()', 'timeout')
      await Promise.all(stores.all().map((each) => each.ready(ms)))
    },
    status,
    async close(options = {}) {
      validateOptions('tp.close()', options, { drain: durationValidator })
      await close(durationOption(options.drain ?? DRAIN, 'tp.close()', 'drain', 0))
    },
    [Symbol.asyncDispose]: () => close(DRAIN),
  }
  return tp
}
