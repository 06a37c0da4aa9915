/** What `tp.control.maintenance()` is called with, and what it returns. Types only. */
import type { Duration } from '../../duration.ts'
import type { RuleOptions } from './change-options.ts'

/** What `tp.control.maintenance()` switches on. */
export interface MaintenanceSettings {
  /** Retry-After of refused requests. @default '5m', or that of `maintenance()` */
  retryAfter?: Duration
  /** What refused clients read. At most 500 characters. @default 'The service is under maintenance. …' */
  detail?: string
  /**
   * Addresses and networks whose requests pass, up to 100.
   * @default none
   * @example ['203.0.113.0/24']
   */
  allow?: readonly string[]
  /**
   * Paths whose requests pass, and all below them, up to 100. Health checks always pass.
   * @default none
   * @example ['/webhooks']
   */
  bypass?: readonly string[]
}

/** Whether maintenance is on, and how. */
export interface MaintenanceReport {
  /** True during maintenance. */
  readonly on: boolean
  /** When it was switched, in ms since the epoch. Undefined if it never was. */
  readonly since: number | undefined
  /** When it ends by itself, in ms since the epoch. Undefined: when it is switched off. */
  readonly until: number | undefined
  /** Who switched it. */
  readonly by: string | undefined
  /** Why it was switched. */
  readonly reason: string | undefined
  /** What refused clients read. Undefined: the default message. */
  readonly detail: string | undefined
  /** Retry-After in ms. Undefined: that of the middleware. */
  readonly retryAfterMs: number | undefined
  /** Addresses and networks that pass. */
  readonly allow: readonly string[]
  /** Paths that pass, with all below them. */
  readonly bypass: readonly string[]
}

/** Switches maintenance while processes run. */
export interface MaintenanceControl {
  /**
   * Begins maintenance in all processes: `tp.gate()` and `maintenance()` of `turnpike/flags` refuse
   * requests with 503. New settings replace the old ones. `'off'` ends it.
   * @throws TP_OPTION for an argument that cannot be used
   * @throws TP_VALUE if the settings are too long together
   * @throws TP_UNAVAILABLE
   * @example
   * await tp.control.maintenance({ retryAfter: '10m', allow: ['203.0.113.0/24'] }, { by: 'ann', reason: 'move' })
   */
  maintenance(
    settings: MaintenanceSettings | 'off',
    options: RuleOptions,
  ): Promise<MaintenanceReport>
  /** Returns whether maintenance is on, as Redis holds it. @throws TP_UNAVAILABLE */
  maintenance(): Promise<MaintenanceReport>
}
