/** What `tp.control` does: validates a change, names its target and writes it. */
import {
  addressRuleId,
  MAX_RULES,
  modeRuleId,
  parseRuleId,
  subjectRuleId,
} from '../../control/rule-table.ts'
import type { LimitMode, RuleEffect } from '../../control/active-rules.ts'
import { durationOption, durationValidator } from '../../duration.ts'
import { TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import { parseAddressPrefix } from '../../http/address-prefix.ts'
import type { Subject } from '../../store/keys.ts'
import { passedSubjectTag, requireTenant, shownSubject } from '../../store/subject.ts'
import {
  anyString,
  identifier,
  integer,
  isObject,
  oneOf,
  optionError,
  validateOptions,
  type Validator,
} from '../../validate.ts'
import { auditKey, MAX_AUDIT_ENTRIES, parseAuditEntry, readAuditEntries } from '../audit.ts'
import type { AuditEntry } from '../audit.ts'
import type {
  AccessRule,
  Control,
  ControlChange,
  ControlChangeOptions,
  ModeRule,
  RuleOptions,
  RuleClient,
} from './options.ts'
import type { RuleReplica } from './rule-replica.ts'

/** The longest time that a rule may be in force, in ms. */
const MAX_MS = 3_650 * 86_400_000
/** Longest details of a rule, in characters of JSON: 10,000 rules are a few megabytes. */
const MAX_DETAILS = 1_000

const stringUpTo = (max: number): Validator => ({
  expected: `a string of 1 to ${max} characters`,
  accepts: (value) => typeof value === 'string' && value.trim() !== '' && value.length <= max,
})

const CHANGE_OPTIONS: Record<string, Validator> = { by: stringUpTo(100), reason: stringUpTo(200) }
const RULE_OPTIONS: Record<string, Validator> = { ...CHANGE_OPTIONS, for: durationValidator }

const MODES = oneOf('on', 'shadow', 'off', 'closed', 'default')

/** A target, as it is stored and shown. */
interface NamedTarget {
  readonly id: string
  readonly shown: string
  readonly subject?: Subject
  readonly tenant?: string | undefined
}

export class RuleChanges implements Control {
  readonly #context: ExtensionContext
  readonly #replica: RuleReplica

  constructor(context: ExtensionContext, replica: RuleReplica) {
    this.#context = context
    this.#replica = replica
  }

  async deny(target: RuleClient, options: RuleOptions): Promise<ControlChange> {
    return await this.#set('deny', target, options)
  }

  async allow(target: RuleClient, options: RuleOptions): Promise<ControlChange> {
    return await this.#set('allow', target, options)
  }

  async lift(target: RuleClient, options: ControlChangeOptions): Promise<ControlChange> {
    const where = 'tp.control.lift()'
    const { by, reason } = checked(where, options, CHANGE_OPTIONS)
    const { id, shown } = this.#targetOf(target, where)
    const entry = { action: 'lift', by, reason, subject: shown }
    // Removing makes room: it never finds too many rules.
    const { changed, version } = (await this.#replica.write(id, '', 0, entry))!
    return { target: shown, changed, version }
  }

  async rules(): Promise<AccessRule[]> {
    const all = await this.#replica.list()
    return [...all]
      .flatMap(([id, { effect, at, until, by, reason, subject, tenant }]): AccessRule[] => {
        const target = parseRuleId(id)!
        if (target.kind === 'limit') return []
        const rule = {
          effect: effect as RuleEffect,
          address: target.kind === 'address' ? target.prefix.text : undefined,
          subject: target.kind === 'subject' ? (subject ?? target.tag) : undefined,
          tenant,
          at,
          until: until === Infinity ? undefined : until,
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
    options: RuleOptions,
  ): Promise<ControlChange> {
    const where = 'tp.control.mode()'
    if (!identifier.accepts(limit))
      throw optionError(where, 'limit', limit, 'the name of a limit', identifier.suggest?.(limit))
    if (!MODES.accepts(mode))
      throw optionError(where, 'mode', mode, MODES.expected, MODES.suggest?.(mode))
    const target = { id: modeRuleId(limit), shown: `limit ${limit}` }
    if (mode !== 'default') return await this.#write(where, mode, target, options)
    const { by, reason } = checked(where, options, CHANGE_OPTIONS)
    const entry = { action: 'mode default', by, reason, subject: target.shown }
    const { changed, version } = (await this.#replica.write(target.id, '', 0, entry))!
    return { target: target.shown, changed, version }
  }

  async modes(): Promise<ModeRule[]> {
    const all = await this.#replica.list()
    return [...all]
      .flatMap(([id, { effect, at, until, by, reason }]): ModeRule[] => {
        const target = parseRuleId(id)!
        if (target.kind !== 'limit') return []
        const ends = until === Infinity ? undefined : until
        const { limit } = target
        return [{ limit, mode: effect as LimitMode, at, until: ends, by, reason }]
      })
      .toSorted((a, b) => b.at - a.at)
  }

  async audit(options: { limit?: number } = {}): Promise<AuditEntry[]> {
    validateOptions('tp.control.audit()', options, { limit: integer(1, MAX_AUDIT_ENTRIES) })
    const { keys, store } = this.#context
    const range = [0, (options.limit ?? 50) - 1]
    const entries = await store.run(readAuditEntries, [auditKey(keys)], range)
    return entries.flatMap((text) => parseAuditEntry(text) ?? [])
  }

  async refresh(): Promise<void> {
    await this.#replica.refresh()
  }

  async #set(effect: RuleEffect, target: RuleClient, options: RuleOptions): Promise<ControlChange> {
    const where = `tp.control.${effect}()`
    return await this.#write(where, effect, this.#targetOf(target, where), options)
  }

  async #write(
    where: string,
    effect: RuleEffect | LimitMode,
    target: NamedTarget,
    options: RuleOptions,
  ): Promise<ControlChange> {
    const { by, reason, for: time } = checked(where, options, RULE_OPTIONS)
    const ms = time === undefined ? 0 : durationOption(time, where, 'for')
    if (ms > MAX_MS) throw optionError(where, 'for', time, 'at most ten years')
    const { id, shown, subject, tenant } = target
    const details = JSON.stringify({ effect, by, reason, subject, tenant })
    if (details.length > MAX_DETAILS)
      throw optionError(where, 'the target', shown, 'a shorter subject')
    const entry = {
      action: effect === 'deny' || effect === 'allow' ? effect : `mode ${effect}`,
      by,
      reason,
      subject: ms === 0 ? shown : `${shown} for ${ms} ms`,
    }
    const written = await this.#replica.write(id, details, ms, entry)
    if (written === undefined)
      throw new TurnpikeError(
        'TP_VALUE',
        `${where}: there are ${MAX_RULES} rules, which is the largest number. Lift some, or deny a network in place of its addresses.`,
      )
    return { target: shown, ...written }
  }

  /** @throws TP_OPTION, TP_KEY */
  #targetOf(target: unknown, where: string): NamedTarget {
    if (typeof target === 'string') {
      const prefix = parseAddressPrefix(target)
      if (prefix !== undefined) return { id: addressRuleId(prefix), shown: prefix.text }
      // A misspelled address must not become a subject that no request has.
      throw optionError(
        where,
        'the target',
        target,
        "an address like '203.0.113.7', a network like '203.0.113.0/24', or { subject }",
      )
    }
    if (!isObject(target) || target['subject'] === undefined)
      throw optionError(where, 'the target', target, 'an address, a network, or { subject }')
    validateOptions(where, target, { subject: anySubject, tenant: anyString })
    const { subject, tenant } = target as { subject: Subject | number; tenant?: string }
    requireTenant(this.#context, tenant, where)
    const tag = passedSubjectTag(this.#context.keys, subject, tenant, where)
    return {
      id: subjectRuleId(tag),
      shown: `subject ${tag}`,
      subject: shownSubject(subject),
      tenant,
    }
  }
}

/** What is no identity is reported as such later. */
const anySubject: Validator = {
  expected: 'a string, a number, or a list of strings',
  accepts: (value) => ['string', 'number'].includes(typeof value) || Array.isArray(value),
}

/** Validates the options of a change. @throws TP_OPTION also if `by` or `reason` is missing */
function checked<Options extends ControlChangeOptions>(
  where: string,
  options: Options,
  kinds: Record<string, Validator>,
): Options {
  validateOptions(where, options, kinds)
  for (const option of ['by', 'reason'] as const)
    if (options[option] === undefined)
      throw optionError(where, option, undefined, kinds[option]!.expected)
  return options
}
