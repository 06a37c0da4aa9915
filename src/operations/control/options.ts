/** What `tp.control` and `tp.gate()` are called with, and what they can do. Types only. */
import type { LimitMode, RuleEffect } from '../../control/active-rules.ts'
import type { Duration } from '../../duration.ts'
import type { ReplyFunction } from '../../http/refusal.ts'
import type { Subject } from '../../store/keys.ts'
import type { KeyValue } from '../../store/subject.ts'
import type { AuditEntry } from '../audit.ts'

/**
 * Whom a rule is about: an address, a network in CIDR notation, or what a limit or gate knows the
 * client by.
 * @example '203.0.113.7'
 * @example '2001:db8::/32'
 * @example { subject: 'user-42' }
 */
export type RuleClient = string | SubjectClient

/** A client by its subject. */
export interface SubjectClient {
  /** What a limit counts the client by: what its `key` returns. */
  subject: Subject | number
  /** Tenant of the subject. Required if the application has tenants. @default none */
  tenant?: string | undefined
}

/** Options of a change that a person is responsible for. */
export interface ControlChangeOptions {
  /** Who makes the change, for the audit: 1 to 100 characters. */
  by: string
  /** Why, for the audit: 1 to 200 characters. */
  reason: string
}

/** Options of `tp.control.deny()` and `allow()`. */
export interface RuleOptions extends ControlChangeOptions {
  /** How long the rule is in force, up to ten years. @default until it is lifted */
  for?: Duration
}

/** What came of a change. */
export interface ControlChange {
  /** The target as it is stored. `203.0.113.7/24` is stored as `203.0.113.0/24`. */
  readonly target: string
  /** False if there was no rule to lift. */
  readonly changed: boolean
  /** Version of the rules afterwards, as this process knows it. */
  readonly version: string
}

/** A rule in force. */
export interface AccessRule {
  /** What the rule does with the client. */
  readonly effect: RuleEffect
  /** Address or network. Undefined in a rule for a subject. */
  readonly address: string | undefined
  /** Undefined in a rule for addresses. A long string is shown as its digest. */
  readonly subject: Subject | undefined
  /** Tenant of the subject. Undefined if the application has no tenants. */
  readonly tenant: string | undefined
  /** When it was set, by Redis's clock, in ms since the epoch. */
  readonly at: number
  /** When it ends, in ms since the epoch. Undefined: when it is lifted. */
  readonly until: number | undefined
  /** Who set it. */
  readonly by: string
  /** Why it was set. */
  readonly reason: string
}

/** The mode of a limit, in force. */
export interface ModeRule extends Pick<AccessRule, 'at' | 'until' | 'by' | 'reason'> {
  /** Name of the limit. */
  readonly limit: string
  /** What the limit does. */
  readonly mode: LimitMode
}

/** Changes what the processes of an application do, while they run. */
export interface Control {
  /**
   * Refuses a client in all processes, with 403. The gate, limits and login guards refuse it.
   * @throws TP_OPTION for a target or option that cannot be used
   * @throws TP_VALUE if there are 10,000 rules
   * @throws TP_UNAVAILABLE
   * @example
   * await tp.control.deny('203.0.113.0/24', { for: '1h', by: 'ann', reason: 'scraper' })
   */
  deny(target: RuleClient, options: RuleOptions): Promise<ControlChange>
  /**
   * Admits a client in all processes: no rule for a larger network refuses it, and no limit or login
   * guard counts it.
   * @throws TP_OPTION for a target or option that cannot be used
   * @throws TP_VALUE if there are 10,000 rules
   * @throws TP_UNAVAILABLE
   */
  allow(target: RuleClient, options: RuleOptions): Promise<ControlChange>
  /**
   * Removes the rule for exactly this target.
   * @throws TP_OPTION for a target or option that cannot be used
   * @throws TP_UNAVAILABLE
   */
  lift(target: RuleClient, options: ControlChangeOptions): Promise<ControlChange>
  /**
   * Changes what the mounts of `tp.rateLimit()` with a name do, in all processes: `'on'` refuses,
   * `'shadow'` only counts and reports, `'off'` lets pass without counting, `'closed'` refuses
   * everything with 503. `'default'` returns to the options of the mount.
   * @throws TP_OPTION for an argument that cannot be used
   * @throws TP_VALUE if there are 10,000 rules
   * @throws TP_UNAVAILABLE
   * @example
   * await tp.control.mode('api', 'shadow', { for: '1h', by: 'ann', reason: 'too strict' })
   */
  mode(limit: string, mode: LimitMode | 'default', options: RuleOptions): Promise<ControlChange>
  /** Returns the rules in force, as Redis holds them. @throws TP_UNAVAILABLE */
  rules(): Promise<AccessRule[]>
  /** Returns the modes in force, as Redis holds them. @throws TP_UNAVAILABLE */
  modes(): Promise<ModeRule[]>
  /**
   * Returns the latest changes that people have made, also with `npx turnpike`, the newest first.
   * @param options.limit largest number of entries, 1 to 1,000. Default 50
   * @throws TP_OPTION, TP_UNAVAILABLE
   */
  audit(options?: { limit?: number }): Promise<AuditEntry[]>
  /** Asks Redis now. Await it at start if no request may slip through. @throws TP_UNAVAILABLE */
  refresh(): Promise<void>
}

/** Options of `tp.gate()`. */
export interface GateOptions<Native> {
  /**
   * Returns the subject of a request, so that rules for subjects apply. Undefined: none.
   * @default none
   * @example (req) => req.session?.userId
   */
  subject?: (native: Native) => KeyValue | Promise<KeyValue>
  /** The response to a refused request. @default 403 with problem+json (RFC 9457) */
  reply?: ReplyFunction<Native>
}

/** Control of an instance. */
export interface ControlApi<Native, Middleware> {
  /** Rules that admit or refuse clients, for all processes. See docs/control.md. */
  readonly control: Control
  /**
   * Returns a middleware that refuses the clients that `tp.control.deny()` names. It costs no round
   * trip. Mount it before everything else. While Redis is away, the last rules stay.
   * @throws TP_OPTION for an option that cannot be used
   * @example
   * app.use(tp.gate())
   */
  gate(options?: GateOptions<Native>): Middleware
}
