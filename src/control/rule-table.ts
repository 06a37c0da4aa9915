/**
 * The rules that admit or refuse clients, as a process looks them up. The longest prefix wins. A
 * lookup costs one step for each length of prefix that any rule has, however many rules there are.
 */
import { addressBits, type Ipv4Bits, type Ipv6Bits } from '../http/address-bits.ts'
import {
  maskIpv4,
  maskIpv6,
  parseAddressPrefix,
  type AddressPrefix,
} from '../http/address-prefix.ts'
import type { LimitMode, PolicyChange, RuleEffect, RuleLookup } from './active-rules.ts'
import { Ipv4Map } from './ipv4-map.ts'
import { PrefixRules, type PrefixRule } from './prefix-rules.ts'
import { RecentLookups } from './recent-lookups.ts'
import { isInForce, type Rule } from './rule.ts'

/** Largest number of rules. */
export const MAX_RULES = 10_000

/** Begins the ID of a rule for an address or network. */
const ADDRESS = 'a:'
/** Begins the ID of a rule for a subject. */
const SUBJECT = 's:'
/** Begins the ID of the mode of a limit. */
const LIMIT = 'm:'
/** Begins the ID of a change of a policy. */
const POLICY = 'p:'

/** Returns the ID of the rule for an address or network. */
export const addressRuleId = ({ text }: AddressPrefix): string => `${ADDRESS}${text}`
/** Returns the ID of the rule for a subject. @param tag content of its hash tag */
export const subjectRuleId = (tag: string): string => `${SUBJECT}${tag}`

/** Returns the ID of the mode of a limit. */
export const modeRuleId = (limit: string): string => `${LIMIT}${limit}`
/** Returns the ID of the change of a policy. */
export const policyRuleId = (policy: string): string => `${POLICY}${policy}`

/** What a rule's ID is about. */
export type RuleTarget =
  | { readonly kind: 'address'; readonly prefix: AddressPrefix }
  | { readonly kind: 'subject'; readonly tag: string }
  | { readonly kind: 'limit'; readonly limit: string }
  | { readonly kind: 'policy'; readonly policy: string }

const EFFECTS: Readonly<Record<RuleTarget['kind'], readonly string[]>> = {
  address: ['deny', 'allow'],
  subject: ['deny', 'allow'],
  limit: ['on', 'shadow', 'off', 'closed'],
  policy: ['change'],
}

/** Returns true if rules about such a target can have this effect. */
export const isEffectOn = ({ kind }: RuleTarget, effect: string): boolean =>
  EFFECTS[kind].includes(effect)

/** Returns what an ID is about, undefined for an ID that has another form. */
export function parseRuleId(id: string): RuleTarget | undefined {
  const rest = id.slice(2)
  if (id.startsWith(SUBJECT))
    return /^[\w.@%~=:-]{1,200}$/.test(rest) ? { kind: 'subject', tag: rest } : undefined
  if (id.startsWith(LIMIT))
    return /^[\w.-]{1,40}$/.test(rest) ? { kind: 'limit', limit: rest } : undefined
  if (id.startsWith(POLICY))
    return /^[\w.-]{1,81}$/.test(rest) ? { kind: 'policy', policy: rest } : undefined
  if (!id.startsWith(ADDRESS)) return undefined
  const prefix = parseAddressPrefix(rest)
  // One network has one ID. Otherwise lifting a rule could leave another one for the same network.
  return prefix?.text === rest ? { kind: 'address', prefix } : undefined
}

/** Returns what a rule is about, as people name it. */
export function shownRuleTarget(target: RuleTarget): string {
  if (target.kind === 'address') return target.prefix.text
  if (target.kind === 'subject') return `subject:${target.tag}`
  return target.kind === 'limit' ? `limit:${target.limit}` : `policy:${target.policy}`
}

/** All rules of an application, as one process holds them. */
export class RuleTable implements RuleLookup {
  readonly #now: () => number
  readonly #ipv4: PrefixRules<Ipv4Bits>
  readonly #ipv6: PrefixRules<Ipv6Bits>
  /** Cleared with each change of the rules for addresses. */
  readonly #recent: RecentLookups
  readonly #subjects = new Map<string, Rule>()
  readonly #modes = new Map<string, Rule>()
  readonly #changes = new Map<string, Rule>()
  /** Set by the replica that fills the table. */
  writes = 0

  /** @param now the store's clock */
  constructor(now: () => number) {
    this.#now = now
    this.#ipv4 = new PrefixRules(32, maskIpv4, () => new Ipv4Map(), now)
    this.#ipv6 = new PrefixRules(128, maskIpv6, () => new Map(), now)
    this.#recent = new RecentLookups(now)
  }

  get size(): number {
    return this.#ipv4.size + this.#ipv6.size + this.#subjects.size
  }

  get changes(): number {
    return this.#changes.size
  }

  get total(): number {
    return this.size + this.#modes.size + this.#changes.size
  }

  /** Sets the rule about a target in place of its last one. Beyond `MAX_RULES` nothing is added. */
  set(target: RuleTarget, rule: Rule): void {
    if (this.total >= MAX_RULES) this.prune()
    const isFull = this.total >= MAX_RULES
    if (target.kind === 'address') {
      const { prefix } = target
      this.#recent.clear()
      if (prefix.family === 4) this.#ipv4.set(prefix.bits, prefix.length, rule, isFull)
      else this.#ipv6.set(prefix.bits, prefix.length, rule, isFull)
      return
    }
    const [rules, name] = this.#namedRules(target)
    if (!isFull || rules.has(name)) rules.set(name, rule)
  }

  delete(target: RuleTarget): void {
    if (target.kind === 'address') {
      const { prefix } = target
      this.#recent.clear()
      if (prefix.family === 4) this.#ipv4.delete(prefix.bits, prefix.length)
      else this.#ipv6.delete(prefix.bits, prefix.length)
      return
    }
    const [rules, name] = this.#namedRules(target)
    rules.delete(name)
  }

  #namedRules(target: Exclude<RuleTarget, { kind: 'address' }>): [Map<string, Rule>, string] {
    if (target.kind === 'subject') return [this.#subjects, target.tag]
    return target.kind === 'limit' ? [this.#modes, target.limit] : [this.#changes, target.policy]
  }

  clear(): void {
    this.#recent.clear()
    this.#ipv4.clear()
    this.#ipv6.clear()
    this.#subjects.clear()
    this.#modes.clear()
    this.#changes.clear()
  }

  /** Removes the rules that have ended. */
  prune(): void {
    const now = this.#now()
    this.#recent.clear()
    this.#ipv4.prune()
    this.#ipv6.prune()
    for (const rules of [this.#subjects, this.#modes, this.#changes])
      for (const [name, { until }] of rules) if (until <= now) rules.delete(name)
  }

  effectOn(address: string, ...tags: readonly string[]): RuleEffect | undefined {
    const subject = this.#effectOnSubjects(tags)
    const network = this.#ruleOn(address)
    if (subject === undefined || network === undefined)
      return subject ?? (network?.effect as RuleEffect | undefined)
    return network.isExact && network.effect === 'deny' && !network.isBan ? 'deny' : subject
  }

  modeOf(limit: string): LimitMode | undefined {
    if (this.#modes.size === 0) return undefined
    const rule = this.#modes.get(limit)
    return rule !== undefined && isInForce(rule, this.#now) ? (rule.effect as LimitMode) : undefined
  }

  enforcedShareOf(limit: string): number {
    return this.#modes.get(limit)?.enforce ?? 100
  }

  changeOf(policy: string): PolicyChange | undefined {
    const rule = this.#changes.get(policy)
    return rule !== undefined && isInForce(rule, this.#now) ? rule.change : undefined
  }

  #effectOnSubjects(tags: readonly string[]): RuleEffect | undefined {
    let effect: RuleEffect | undefined
    if (this.#subjects.size === 0) return effect
    for (const tag of tags) {
      const rule = this.#subjects.get(tag)
      if (rule === undefined || !isInForce(rule, this.#now)) continue
      if (rule.effect === 'deny') return 'deny'
      effect = 'allow'
    }
    return effect
  }

  #ruleOn(address: string): PrefixRule | undefined {
    if (this.#ipv4.size + this.#ipv6.size === 0) return undefined
    const recent = this.#recent.get(address)
    if (recent !== undefined) return recent ?? undefined
    const bits = addressBits(address)
    if (bits === undefined) return undefined
    const rule = typeof bits === 'number' ? this.#ipv4.find(bits) : this.#ipv6.find(bits)
    this.#recent.add(address, rule)
    return rule
  }
}
