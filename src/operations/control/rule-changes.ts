/** What `tp.control` does: validates a change, names its target and writes it. */
import { MAX_RULES, modeRuleId, parseRuleId, policyRuleId } from '../../control/rule-table.ts'
import type { StoredEffect } from '../../control/rule.ts'
import type { LimitMode, PolicyChange, RuleEffect } from '../../control/active-rules.ts'
import { durationOption, durationValidator, type Duration, printDuration } from '../../duration.ts'
import { TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import {
  boolean,
  identifier,
  integer,
  oneOf,
  optionError,
  optionRuleError,
  validateOptions,
} from '../../validate.ts'
import { auditKey, MAX_AUDIT_ENTRIES, parseAuditEntry, readAuditEntries } from '../audit.ts'
import type { AuditEntry } from '../audit.ts'
import type {
  AccessRule,
  Control,
  ControlChange,
  ModeOptions,
  ModeRule,
  PolicyRule,
  PolicyValues,
  RuleClient,
  Settlement,
} from './options.ts'
import type { ControlChangeOptions, RuleOptions } from './change-options.ts'
import type { MaintenanceControl } from './maintenance-options.ts'
import { awaitVersion } from './confirmations.ts'
import {
  CHANGE_OPTIONS,
  changeOf,
  checkedOptions,
  MODES,
  namedTarget,
  PERCENT,
  RULE_OPTIONS,
  timeInForce,
  type NamedTarget,
} from './rule-options.ts'
import { banAuditKey } from './rule-operations.ts'
import type { RuleReplica } from './rule-replica.ts'
import { RuleWriter } from './rule-writer.ts'

/** The longest time that `settled()` waits, in ms. */
const MAX_WAIT = 600_000
/** Longest details of a rule, in characters of JSON: 10,000 rules are a few megabytes. */
const MAX_DETAILS = 1_000

export class RuleChanges implements Omit<Control, keyof MaintenanceControl> {
  readonly #context: ExtensionContext
  readonly #replica: RuleReplica
  readonly #writer: RuleWriter

  constructor(context: ExtensionContext, replica: RuleReplica) {
    this.#context = context
    this.#replica = replica
    this.#writer = new RuleWriter(context, replica)
  }

  async deny(target: RuleClient, options: RuleOptions): Promise<ControlChange> {
    return await this.#set('deny', target, options)
  }

  async allow(target: RuleClient, options: RuleOptions): Promise<ControlChange> {
    return await this.#set('allow', target, options)
  }

  async lift(target: RuleClient, options: ControlChangeOptions): Promise<ControlChange> {
    const where = 'tp.control.lift()'
    return await this.#remove(where, 'lift', namedTarget(this.#context, target, where), options)
  }

  async clear(options: ControlChangeOptions & { only?: 'bans' }): Promise<ControlChange> {
    const where = 'tp.control.clear()'
    const kinds = { ...CHANGE_OPTIONS, only: oneOf('bans') }
    const { by, reason, only } = checkedOptions(where, options, kinds)
    const target = only === undefined ? 'all rules' : 'all bans'
    const entry = { action: 'clear', by, reason, subject: target }
    const count = await this.#writer.clear(only ?? 'all', entry)
    return { target, changed: count > 0, version: this.#replica.version }
  }

  async rules(): Promise<AccessRule[]> {
    const all = await this.#replica.list()
    return [...all]
      .flatMap(([id, { effect, at, until, ban, by, reason, subject, tenant }]): AccessRule[] => {
        const target = parseRuleId(id)!
        if (target.kind !== 'address' && target.kind !== 'subject') return []
        const rule = {
          effect: effect as RuleEffect,
          address: target.kind === 'address' ? target.prefix.text : undefined,
          subject: target.kind === 'subject' ? (subject ?? target.tag) : undefined,
          tenant,
          at,
          until: until === Infinity ? undefined : until,
          ban,
          by,
          reason,
        }
        return [rule]
      })
      .toSorted((a, b) => b.at - a.at)
  }

  async mode(
    limit: string,
    mode: LimitMode | 'default',
    options: ModeOptions,
  ): Promise<ControlChange> {
    const where = 'tp.control.mode()'
    if (!identifier.accepts(limit))
      throw optionError(where, 'limit', limit, 'the name of a limit', identifier.suggest?.(limit))
    if (!MODES.accepts(mode))
      throw optionError(where, 'mode', mode, MODES.expected, MODES.suggest?.(mode))
    const target = { id: modeRuleId(limit), shown: `limit ${limit}` }
    const { enforce, ...rest } = options ?? {}
    if (mode === 'default') return await this.#remove(where, 'mode default', target, options)
    if (enforce === undefined) return await this.#write(where, mode, target, rest)
    if (mode !== 'on')
      throw optionRuleError(where, 'enforce', enforce, "`enforce` requires the mode 'on'.")
    if (!PERCENT.accepts(enforce))
      throw optionError(where, 'enforce', enforce, PERCENT.expected, PERCENT.suggest?.(enforce))
    return await this.#write(where, mode, { ...target, enforce }, rest)
  }

  async modes(): Promise<ModeRule[]> {
    const all = await this.#replica.list()
    return [...all]
      .flatMap(([id, { effect, enforce = 100, at, until, by, reason }]): ModeRule[] => {
        const target = parseRuleId(id)!
        if (target.kind !== 'limit') return []
        const ends = until === Infinity ? undefined : until
        const { limit } = target
        return [{ limit, mode: effect as LimitMode, enforce, at, until: ends, by, reason }]
      })
      .toSorted((a, b) => b.at - a.at)
  }

  async policy(
    policy: string,
    values: PolicyValues | 'default',
    options: RuleOptions,
  ): Promise<ControlChange> {
    const where = 'tp.control.policy()'
    if (typeof policy !== 'string' || parseRuleId(policyRuleId(policy)) === undefined)
      throw optionError(where, 'policy', policy, "names of a limit and its policy: 'api.minute'")
    const target = { id: policyRuleId(policy), shown: `policy ${policy}` }
    if (values === 'default') return await this.#remove(where, 'policy default', target, options)
    const change = changeOf(where, values)
    return await this.#write(where, 'change', { ...target, change }, options)
  }

  async policies(): Promise<PolicyRule[]> {
    const all = await this.#replica.list()
    return [...all]
      .flatMap(([id, { at, until, by, reason, change }]): PolicyRule[] => {
        const target = parseRuleId(id)!
        if (target.kind !== 'policy') return []
        const { limit, window, burst } = change!
        const ends = until === Infinity ? undefined : until
        return [{ policy: target.policy, limit, window, burst, at, until: ends, by, reason }]
      })
      .toSorted((a, b) => b.at - a.at)
  }

  async audit(options: { limit?: number; bans?: boolean } = {}): Promise<AuditEntry[]> {
    validateOptions('tp.control.audit()', options, {
      limit: integer(1, MAX_AUDIT_ENTRIES),
      bans: boolean,
    })
    const { keys, store } = this.#context
    const key = options.bans === true ? banAuditKey(keys) : auditKey(keys)
    const range = [0, (options.limit ?? 50) - 1]
    const entries = await store.run(readAuditEntries, [key], range)
    return entries.flatMap((text) => parseAuditEntry(text) ?? [])
  }

  async settled(
    version: string = this.#replica.version,
    options: { timeout?: Duration } = {},
  ): Promise<Settlement> {
    const where = 'tp.control.settled()'
    if (typeof version !== 'string')
      throw optionError(where, 'version', version, 'what a change returned')
    validateOptions(where, options, { timeout: durationValidator })
    const timeout = durationOption(options.timeout ?? '15s', where, 'timeout')
    if (timeout > MAX_WAIT) throw optionError(where, 'timeout', options.timeout, 'at most 10m')
    return await awaitVersion(this.#context, version, timeout)
  }

  async refresh(): Promise<void> {
    await this.#replica.refresh()
  }

  async #set(effect: RuleEffect, target: RuleClient, options: RuleOptions): Promise<ControlChange> {
    const where = `tp.control.${effect}()`
    return await this.#write(where, effect, namedTarget(this.#context, target, where), options)
  }

  async #remove(
    where: string,
    action: string,
    { id, shown }: NamedTarget,
    options: ControlChangeOptions,
  ): Promise<ControlChange> {
    const { by, reason } = checkedOptions(where, options, CHANGE_OPTIONS)
    // Removing makes room: it never finds too many rules.
    const written = (await this.#writer.write(id, '', 0, { action, by, reason, subject: shown }))!
    return { target: shown, ...written }
  }

  async #write(
    where: string,
    effect: StoredEffect,
    target: NamedTarget,
    options: RuleOptions,
  ): Promise<ControlChange> {
    const { by, reason } = checkedOptions(where, options, RULE_OPTIONS)
    const ms = timeInForce(where, options)
    const { id, shown, subject, tenant, change, enforce } = target
    const details = JSON.stringify({ effect, by, reason, subject, tenant, enforce, ...change })
    if (details.length > MAX_DETAILS)
      throw optionError(where, 'the target', shown, 'a shorter subject')
    const what = [
      shown,
      change && describedChange(change),
      enforce !== undefined && `for ${enforce} % of clients`,
      ms > 0 && `for ${printDuration(ms)}`,
    ]
    const entry = {
      action: actionOf(effect),
      by,
      reason,
      subject: what.filter(Boolean).join(' '),
    }
    const written = await this.#writer.write(id, details, ms, entry)
    if (written === undefined)
      throw new TurnpikeError(
        'TP_VALUE',
        `${where}: there are ${MAX_RULES} rules, which is the largest number. Lift some, or deny a network in place of its addresses.`,
      )
    return { target: shown, ...written }
  }
}

/** Returns the action of a change, as the audit names it. */
function actionOf(effect: StoredEffect): string {
  if (effect === 'deny' || effect === 'allow') return effect
  return effect === 'change' ? 'policy' : `mode ${effect}`
}

/** Returns a change of a policy as the audit shows it: `limit=30 window=1m`. */
const describedChange = (change: PolicyChange): string =>
  Object.entries(change)
    .map(([name, value]) => `${name}=${name === 'window' ? printDuration(value) : value}`)
    .join(' ')
