/** Feature flags, maintenance mode and configuration: what `turnpike/flags` offers. */
import { CONTEXT, extension, type ExtensionContext, type Instance } from '../../extension.ts'
import { createConfig, type Config, type ConfigOptions } from './config.ts'
import { createFlags } from './flags.ts'
import { createMaintenance, type Maintenance, type MaintenanceOptions } from './maintenance.ts'
import { createProvider, type FlagProvider } from './open-feature.ts'
import type { FlagDefaults, Flags, FlagsOptions } from './options.ts'

const contextOf = <Native, Middleware>(
  tp: Instance<Native, Middleware>,
): ExtensionContext<Native, Middleware> => extension(tp, 'flags', (context) => context)

/**
 * Creates feature flags. The middleware gives each request `req.flags` (Koa: `ctx.flags`). Rules are
 * stored in Redis and held by every process, so a check costs no round trip. Until Redis is reached
 * the defaults apply, and while it is away the last rules.
 *
 * @param tp the instance that `turnpike()` returned
 * @throws TP_OPTION for an option that cannot be used
 * @see docs/flags.md
 * @example
 * const feature = flags(tp, { defaults: { newDashboard: false } })
 * app.use(feature)
 * app.get('/', (req, res) => res.render(req.flags.enabled('newDashboard') ? 'new' : 'old'))
 * await feature.set('newDashboard', { percentage: 20 })
 */
export function flags<Native, Middleware extends object, Defaults extends FlagDefaults>(
  tp: Instance<Native, Middleware>,
  options: FlagsOptions<Native, Defaults>,
): Middleware & Flags<Native, Defaults> {
  return createFlags(contextOf(tp), options)
}

/**
 * Creates a middleware that refuses requests during maintenance: 503 with Retry-After. It is
 * switched in all processes at once, also by `tp.control.maintenance()`. While Redis is away, the last state stays.
 *
 * @param tp the instance that `turnpike()` returned
 * @throws TP_OPTION for an option that cannot be used
 * @see docs/flags.md#maintenance
 * @example
 * const closed = maintenance(tp, { allow: (req) => req.user?.isAdmin === true })
 * app.use(closed)
 * await closed.on({ retryAfter: '10m' })
 */
export function maintenance<Native, Middleware extends object>(
  tp: Instance<Native, Middleware>,
  options?: MaintenanceOptions<Native>,
): Middleware & Maintenance {
  return createMaintenance(contextOf(tp), tp[CONTEXT]('operations'), options)
}

/**
 * Creates a configuration that every process holds: loaded by your function, again after `ttl`, and
 * in all processes after `reload()`. Reading it costs no round trip.
 *
 * @param tp the instance that `turnpike()` returned
 * @param name names the configuration in messages
 * @throws TP_OPTION for a name or option that cannot be used
 * @see docs/flags.md#configuration
 * @example
 * const prices = config(tp, 'prices', { load: () => db.prices(), ttl: '5m' })
 * const { currency } = await prices.get()
 * await prices.reload()
 */
export function config<Value>(
  tp: Instance,
  name: string,
  options: ConfigOptions<Value>,
): Config<Value> {
  return createConfig(contextOf(tp), name, options)
}

/**
 * Returns a provider for the SDK of OpenFeature, `@openfeature/server-sdk`.
 *
 * @param feature what `flags()` returned
 * @see docs/flags.md#openfeature
 * @example
 * await OpenFeature.setProviderAndWait(openFeatureProvider(feature))
 */
export function openFeatureProvider<Defaults extends FlagDefaults>(
  feature: Flags<any, Defaults>,
): FlagProvider {
  return createProvider(feature)
}
