/** Maintenance mode: `maintenance()`. */
import {
  DEFAULT_SWITCH,
  HEALTH_PATHS,
  isHealthCheck,
  MAX_BY,
  MAX_DETAIL,
  openMaintenanceSwitch,
  RETRY_MS,
} from '../../documents/maintenance-switch.ts'
import { durationOption, durationValidator, type Duration } from '../../duration.ts'
import type { ExtensionContext } from '../../extension.ts'
import { passThrough, type Exchange, type Plan } from '../../http/exchange.ts'
import { andThen } from '../../http/promises.ts'
import type { ReplyFunction } from '../../http/refusal.ts'
import { callback, identifier, isListOf, validateOptions, type Validator } from '../../validate.ts'

/** Options of `maintenance()`. */
export interface MaintenanceOptions<Native> {
  /**
   * Returns true for requests that pass all the same, for example an administrator's. It is called
   * during maintenance only.
   * @default none
   * @example (req) => req.user?.isAdmin === true
   */
  allow?: (native: Native) => boolean | Promise<boolean>
  /**
   * Paths of health checks. GET and HEAD requests to them, and below them, always pass.
   * @default ['/health', '/healthz', '/livez', '/readyz']
   */
  health?: readonly string[]
  /** Retry-After of refused requests, if `on()` names no other. @default '5m' */
  retryAfter?: Duration
  /**
   * How often each process asks Redis whether maintenance is on. Changes are announced by a message,
   * so this counts only where a message is lost.
   * @default '1s'
   */
  refresh?: Duration
  /**
   * Names the switch. Instances with the same name and prefix are switched together. `tp.gate()` heeds
   * the switch `default`, which `tp.control.maintenance()` switches.
   * @default 'default'
   */
  name?: string
  /** Phrases the response to refused requests. @default a problem document (RFC 9457) */
  reply?: ReplyFunction<Native>
}

/** Options of `on()`. */
export interface MaintenanceOnOptions {
  /** Retry-After of refused requests. @default the middleware's */
  retryAfter?: Duration
  /** What refused clients read. At most 500 characters. @default 'The service is under maintenance. …' */
  detail?: string
  /** Who switches, for `status()`. At most 200 characters. @default none */
  by?: string
}

/** Whether maintenance is on, as this process knows it. */
export interface MaintenanceStatus {
  /** True during maintenance. */
  readonly on: boolean
  /** When it was switched, in ms since the epoch. Undefined if it never was. */
  readonly since: number | undefined
  /** Who switched it, if `by` was given. */
  readonly by: string | undefined
}

/** The switch of maintenance mode. */
export interface Maintenance {
  /** Begins maintenance in all processes. @throws TP_OPTION, TP_UNAVAILABLE */
  on(options?: MaintenanceOnOptions): Promise<void>
  /** Ends maintenance in all processes. @throws TP_OPTION, TP_UNAVAILABLE */
  off(options?: Pick<MaintenanceOnOptions, 'by'>): Promise<void>
  /** Returns whether maintenance is on, without a round trip. */
  status(): MaintenanceStatus
  /** Asks Redis now. Await it at start if no request may slip through. @throws TP_UNAVAILABLE */
  refresh(): Promise<void>
}

const WHERE = 'maintenance()'

const stringUpTo = (max: number): Validator => ({
  expected: `a string of at most ${max} characters`,
  accepts: (value) => typeof value === 'string' && value.length <= max,
})

const OPTIONS: Record<string, Validator> = {
  allow: callback,
  health: {
    expected: "a list of at most 20 paths that begin with '/'",
    accepts: (value) =>
      isListOf(value, (path) => typeof path === 'string' && /^\/[^/?#][^?#]*$/.test(path), 0, 20),
    suggest: (value) =>
      typeof value === 'string' ? `['/${value.replace(/^\/+/, '')}']` : undefined,
  },
  retryAfter: durationValidator,
  refresh: durationValidator,
  name: identifier,
  reply: callback,
}

const BY: Record<string, Validator> = { by: stringUpTo(MAX_BY) }
const ON_OPTIONS: Record<string, Validator> = {
  ...BY,
  retryAfter: durationValidator,
  detail: stringUpTo(MAX_DETAIL),
}

/**
 * @param operations the context of `operations`, where the switch is
 * @throws TP_OPTION for an option that cannot be used
 */
export function createMaintenance<Native, Middleware extends object>(
  context: ExtensionContext<Native, Middleware>,
  operations: ExtensionContext<Native, Middleware>,
  options: MaintenanceOptions<Native> = {},
): Middleware & Maintenance {
  validateOptions(WHERE, options, OPTIONS)
  const { allow = () => false, health = HEALTH_PATHS, reply, refresh = '1s' } = options
  const { name = DEFAULT_SWITCH } = options
  const refreshMs = durationOption(refresh, WHERE, 'refresh', 10)
  const standardRetryMs = durationOption(options.retryAfter ?? RETRY_MS, WHERE, 'retryAfter')
  const settings = { refresh }
  context.claimName({ where: WHERE, kind: 'maintenance', name, isExplicit: true, settings })
  const held = openMaintenanceSwitch(operations, name, refreshMs)
  const exempt = health.map((path) => path.replace(/\/+$/, ''))

  function handle(x: Exchange<Native>): Plan | Promise<Plan> {
    if (!held.refuses(x) || isHealthCheck(x, exempt)) return passThrough
    return andThen(allow(x.native), (isAllowed) =>
      isAllowed ? passThrough : { refusal: held.refusal(standardRetryMs), replyWith: reply },
    )
  }

  const api: Maintenance = {
    async on(given = {}) {
      validateOptions('maintenance().on()', given, ON_OPTIONS)
      const { by, detail, retryAfter } = given
      const retryAfterMs =
        retryAfter === undefined
          ? undefined
          : durationOption(retryAfter, 'maintenance().on()', 'retryAfter')
      await held.change({ on: true, by, detail, retryAfterMs })
    },
    async off(given = {}) {
      validateOptions('maintenance().off()', given, BY)
      await held.change({ on: false, by: given.by })
    },
    status() {
      const { since, by } = held.state
      return { on: held.isOn, since, by }
    },
    refresh: async () => await held.refresh(),
  }
  return Object.assign(context.mount({ name: 'maintenance', handle }), api)
}
