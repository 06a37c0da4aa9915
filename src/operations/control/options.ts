/** What `tp.control` and `tp.gate()` are called with, and what they can do. Types only. */
import type { LimitMode, RuleEffect } from '../../control/active-rules.ts'
import type { Duration } from '../../duration.ts'
import type { ReplyFunction } from '../../http/refusal.ts'
import type { Subject } from '../../store/keys.ts'
import type { KeyValue } from '../../store/subject.ts'
import type { AuditEntry } from '../audit.ts'
import type { MaintenanceControl } from './maintenance-options.ts'
import type { ControlChangeOptions, RuleOptions } from './change-options.ts'

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

/** Options of `tp.control.mode()`. */
export interface ModeOptions extends RuleOptions {
  /**
   * Share of clients that the mode `'on'` refuses, in percent: 0 to 100. For the others the limit is in
   * shadow mode. Each client is always in the same share, and a larger share contains the smaller one.
   * @default 100
   */
  enforce?: number
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
  /** Name of the ban of `tp.ban()` that set it. Undefined in rules that people have set. */
  readonly ban: string | undefined
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
  /** Share of clients that the mode `'on'` refuses, in percent. */
  readonly enforce: number
}

/** What a policy counts by, in place of what the options of its mount say. What is left out stays. */
export interface PolicyValues {
  /** Uses that are admitted per window. 0 refuses every request. @default as mounted */
  limit?: number
  /** Window of the policy, up to 366 days. Policies of calendar days and months keep theirs. @default as mounted */
  window?: Duration
  /** Uses that are admitted at once. Policies without bursts ignore it. @default as mounted */
  burst?: number
}

/** The change of a policy, in force. */
export interface PolicyRule extends Pick<AccessRule, 'at' | 'until' | 'by' | 'reason'> {
  /** Name of the limit and of its policy: `api.minute`. */
  readonly policy: string
  /** Uses per window. Undefined: as mounted. */
  readonly limit: number | undefined
  /** The window in ms. Undefined: as mounted. */
  readonly window: number | undefined
  /** Uses that are admitted at once. Undefined: as mounted. */
  readonly burst: number | undefined
}

/** Which processes hold a version of the rules. */
export interface Settlement {
  /** The version that was waited for. */
  readonly version: string
  /** Number of processes that report: those with `operations: false` do not. */
  readonly processes: number
  /** Number of them that hold the version, or a later one. */
  readonly confirmed: number
  /** IDs of the others, as `tp.processes()` lists them. Empty: the change is in force everywhere. */
  readonly missing: readonly string[]
  /** How long it took, in ms. */
  readonly ms: number
}

/** Changes what the processes of an application do, while they run. */
export interface Control extends MaintenanceControl {
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
   * Changes what the mounts of `tp.rateLimit()` with a name do, in all processes. `'on'` refuses.
   * `'shadow'` only counts and reports. `'off'` lets requests pass without counting. `'closed'` refuses
   * everything with 503. `'default'` returns to the options of the mount.
   * @throws TP_OPTION for an argument that cannot be used
   * @throws TP_VALUE if there are 10,000 rules
   * @throws TP_UNAVAILABLE
   * @example
   * await tp.control.mode('api', 'shadow', { for: '1h', by: 'ann', reason: 'too strict' })
   */
  mode(limit: string, mode: LimitMode | 'default', options: ModeOptions): Promise<ControlChange>
  /**
   * Changes what a policy counts by, in all processes. What was counted stays, so a limit that is
   * lowered and raised admits no more than the higher one. `'default'` returns to the options of
   * the mount.
   * @param policy name of the limit, a dot, and name of its policy. A limit without `policies` has one
   *   policy of its own name: write that name once
   * @throws TP_OPTION for an argument that cannot be used
   * @throws TP_VALUE if there are 10,000 rules
   * @throws TP_UNAVAILABLE
   * @example
   * await tp.control.policy('api.minute', { limit: 30 }, { for: '1h', by: 'ann', reason: 'overload' })
   */
  policy(
    policy: string,
    values: PolicyValues | 'default',
    options: RuleOptions,
  ): Promise<ControlChange>
  /** Returns the rules in force, as Redis holds them. @throws TP_UNAVAILABLE */
  rules(): Promise<AccessRule[]>
  /**
   * Removes all rules, modes and changes of policies, or those of bans.
   * @param options.only `'bans'`: what people have set stays. Default: all
   * @throws TP_OPTION, TP_UNAVAILABLE
   */
  clear(options: ControlChangeOptions & { only?: 'bans' }): Promise<ControlChange>
  /** Returns the modes in force, as Redis holds them. @throws TP_UNAVAILABLE */
  modes(): Promise<ModeRule[]>
  /** Returns the changes of policies in force, as Redis holds them. @throws TP_UNAVAILABLE */
  policies(): Promise<PolicyRule[]>
  /**
   * Returns the latest changes that people have made, also with `npx turnpike`, the newest first.
   * @param options.limit largest number of entries, 1 to 1,000. Default 50
   * @param options.bans true: the latest bans in place of what people have done. Default false
   * @throws TP_OPTION, TP_UNAVAILABLE
   */
  audit(options?: { limit?: number; bans?: boolean }): Promise<AuditEntry[]>
  /**
   * Waits until all processes that report hold a version of the rules, or a later one.
   * @param version what a change returned. Default: the version that this process holds
   * @param options.timeout how long to wait, up to 10 minutes. Default 15 seconds. It resolves then, too
   * @throws TP_OPTION, TP_UNAVAILABLE
   * @example
   * const { version } = await tp.control.deny('203.0.113.7', { by: 'ann', reason: 'scraper' })
   * const { confirmed, processes } = await tp.control.settled(version)
   */
  settled(version?: string, options?: { timeout?: Duration }): Promise<Settlement>
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
  /** The response to a refused request. @default 403, or 503, with problem+json (RFC 9457) */
  reply?: ReplyFunction<Native>
}

/** Options of `tp.ban()`. Exactly one of `match`, `statuses` and `on` says what counts against a client. */
export interface BanOptions<Native> {
  /** Name of the ban in keys, rules, events and metrics. */
  name: string
  /**
   * Returns true for a request that counts against its client.
   * @default none
   * @example (req) => req.path.startsWith('/wp-')
   */
  match?: (native: Native) => boolean | Promise<boolean>
  /**
   * Statuses of responses that count against the client.
   * @default none
   * @example [401, 404]
   */
  statuses?: readonly number[]
  /** `'loginGuard'`: refusals of login guards count against the client's address. @default none */
  on?: 'loginGuard'
  /** Number of matches within the window that are tolerated, 1 to 1,000. The next one bans the client. */
  limit: number
  /** Window of the limit, up to a day. */
  window: Duration
  /** How long the first ban is. Each further one is twice as long as the one before. */
  for: Duration
  /** The longest ban, up to a year. @default '7d', or `for` if it is longer */
  max?: Duration
  /** Length of the prefix of an IPv6 address that is banned, 1 to 128. @default 56 */
  ipv6Subnet?: number
  /** The response to a refused request. @default 403 with problem+json (RFC 9457) */
  reply?: ReplyFunction<Native>
}

/** Control of an instance. */
export interface ControlApi<Native, Middleware> {
  /** Rules that admit or refuse clients, for all processes. See docs/control.md. */
  readonly control: Control
  /**
   * Returns a middleware that refuses the clients that `tp.control.deny()` names, and during
   * maintenance all clients with 503. Health checks pass then. It costs no round trip. Mount it before everything else. While Redis is away, the last rules stay.
   * @throws TP_OPTION for an option that cannot be used
   * @example
   * app.use(tp.gate())
   */
  gate(options?: GateOptions<Native>): Middleware
  /**
   * Returns a middleware that bans clients that match too often, in all processes, and refuses those
   * that a rule refuses. Addresses that are private, loopback or shared, and those that
   * `tp.control.allow()` names, are never banned. After 60 new bans within a minute, further ones are
   * only reported. Mount it before what it watches.
   * @throws TP_OPTION for an option that cannot be used
   * @example
   * app.use(tp.ban({ name: 'scanners', statuses: [404], limit: 20, window: '1m', for: '1h' }))
   */
  ban(options: BanOptions<Native>): Middleware
}
