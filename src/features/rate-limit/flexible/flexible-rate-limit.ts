/** A limiter of rate-limiter-flexible in place of our engine: `tp.rateLimit({ limiter })`. */
import type { RuleLookup } from '../../../control/active-rules.ts'
import type { ExtensionContext } from '../../../extension.ts'
import { addressSubject } from '../../../http/client-address.ts'
import type { Exchange, Feature } from '../../../http/exchange.ts'
import type { Subject } from '../../../store/keys.ts'
import {
  passedSubjectTag,
  requireTenant,
  shownSubject,
  subjectTag,
} from '../../../store/subject.ts'
import { optionRuleError } from '../../../validate.ts'
import type { Decision } from '../decision.ts'
import { engineOptions } from '../engine-options.ts'
import { RateLimitEngine } from '../engine.ts'
import { createRateLimitFeature, type RequestLimiter } from '../feature.ts'
import { normalizeSubject } from '../key-normalizers.ts'
import { closedDecision, ruleDecision } from '../limit-decision.ts'
import { isDecision } from '../limiter.ts'
import {
  blockTime,
  callOptions,
  CONSUME_OPTIONS,
  RESET_OPTIONS,
  type ConsumeOptions,
  type Limiter,
  type Subjects,
} from '../limiter-options.ts'
import type { RateLimitOptions } from '../options.ts'
import { describeLimit } from '../limit-description.ts'
import { checkedValue, policiesOf, type Policy } from '../policy.ts'
import { FlexibleEngine, type FlexibleSubject } from './flexible-engine.ts'

/** Timeout of a mounted limiter, in ms. It has none of its own. */
const TIMEOUT = 100

/** Options that a mounted limiter brings with it, or does not have. */
const EXCLUDED = [
  'limit',
  'window',
  'policies',
  'algorithm',
  'burst',
  'timeZone',
  'blockFor',
  'blockMax',
  'countDenied',
  'denyCache',
  'lease',
  'overrides',
] as const

/**
 * Creates a rate limit that a limiter of rate-limiter-flexible counts for.
 * @throws TP_OPTION
 */
export function createFlexibleRateLimit<Native>(
  context: ExtensionContext<Native>,
  options: RateLimitOptions<Native>,
  where: string,
  rules: RuleLookup,
): { feature: Feature<Native>; limiter: Limiter } {
  for (const option of EXCLUDED) {
    if (options[option] !== undefined)
      throw optionRuleError(
        where,
        option,
        options[option],
        `\`${option}\` cannot be combined with \`limiter\`, which has rules of its own. Leave one of them out.`,
      )
  }
  const limiter = new FlexibleRateLimit(context, options, where, rules)
  return { feature: createRateLimitFeature(limiter, options), limiter: limiter.api }
}

/** A subject, with the hash tag that it has here while the mounted limiter is unavailable. */
interface CountedSubject extends FlexibleSubject {
  readonly tag: string
}

class FlexibleRateLimit<Native> implements RequestLimiter<Native> {
  readonly needsOnlyRequest = false
  readonly api: Limiter
  readonly #context: ExtensionContext<Native>
  readonly #options: RateLimitOptions<Native>
  readonly #where: string
  readonly #rules: RuleLookup
  readonly #name: string
  readonly #policies: readonly Policy<never>[]
  readonly #flexible: FlexibleEngine
  /** Reports decisions, and counts while the mounted limiter is unavailable. */
  readonly #engine: RateLimitEngine

  constructor(
    context: ExtensionContext<Native>,
    options: RateLimitOptions<Native>,
    where: string,
    rules: RuleLookup,
  ) {
    this.#context = context
    this.#options = options
    this.#where = where
    this.#rules = rules
    this.#flexible = new FlexibleEngine(options.limiter!, options.name, TIMEOUT, where)
    const { policies: own } = this.#flexible
    const { name, policies } = policiesOf<never>(
      where,
      { policies: own },
      options.name ?? own.map((each) => each.name).join('_'),
    )
    this.#name = name
    this.#policies = policies
    this.#engine = new RateLimitEngine(
      context,
      engineOptions('rateLimit', name, where, options),
      undefined,
      rules,
    )
    describeLimit(context.events.counts, this.#engine.options, policies)
    this.api = this.#limiter()
  }

  get engine(): RateLimitEngine {
    return this.#engine
  }

  now(): number {
    return this.#context.store.now()
  }

  inBackground(write: Promise<unknown>): void {
    this.#engine.inBackground(write)
  }

  async limit(x: Exchange<Native>): Promise<Decision> {
    const { key, cost = 1, ipv6Subnet } = this.#options
    const value = key ? await key(x.native) : addressSubject(x.ip, ipv6Subnet)
    const units = typeof cost === 'function' ? await cost(x.native) : cost
    const tenant = await this.#context.tenantOf(x.native)
    const tag = subjectTag(this.#context.keys, value, tenant, this.#where, true)
    const counted = countedSubject(value!, tenant, tag)
    if (this.#engine.mode === 'closed')
      return this.#engine.report(closedDecision(counted.subject, tenant))
    const effect = this.#rules.size === 0 ? undefined : this.#rules.effectOn(x.ip, tag)
    if (effect !== undefined)
      return this.#engine.report(ruleDecision(effect, counted.subject, tenant))
    return await this.#consume(counted, checkedValue('cost', units, this.#name))
  }

  async #consume(counted: CountedSubject, cost: number): Promise<Decision> {
    const { tag, subject, tenant } = counted
    try {
      return this.#engine.report(await this.#flexible.consume(counted, cost))
    } catch (error) {
      const charges = this.#policies.map((policy) => ({
        policy,
        tag,
        subject,
        tenant,
        limit: policy.limit!,
        window: policy.window!,
        cost,
      }))
      return this.#engine.report(await this.#engine.decideWithoutStore(error, charges))
    }
  }

  #limiter(): Limiter {
    const optionsOf = (call: string, given: number | ConsumeOptions = {}): ConsumeOptions =>
      callOptions(`${this.#where}.${call}()`, given, CONSUME_OPTIONS)
    const tenantOf = (call: string, given: { tenant?: string } = {}): string | undefined =>
      callOptions(`${this.#where}.${call}()`, given, RESET_OPTIONS).tenant
    const subjectOf = (
      passed: Subjects,
      given: string | undefined,
      isShown = true,
    ): CountedSubject => {
      const { key, ipv6Subnet } = this.#options
      const tenant = requireTenant(this.#context, given, this.#where)
      const value =
        typeof passed === 'string' || Array.isArray(passed)
          ? normalizeSubject(passed as Subject, key, ipv6Subnet)
          : (passed as number)
      const tag = passedSubjectTag(this.#context.keys, value, tenant, this.#where, isShown)
      return countedSubject(value, tenant, tag)
    }
    return {
      limiterName: this.#name,
      consume: async (value, given) => {
        const { tenant, cost = 1 } = optionsOf('consume', given)
        return await this.#consume(subjectOf(value, tenant, false), cost)
      },
      peek: async (value, given) => {
        const { tenant, cost = 1 } = optionsOf('peek', given)
        return await this.#flexible.peek(subjectOf(value, tenant), cost)
      },
      refund: async (what, given) => {
        if (isDecision(what)) return await what.refund()
        const { tenant, cost = 1 } = optionsOf('refund', given)
        await this.#flexible.refund(subjectOf(what, tenant), cost)
      },
      reset: async (value, given) =>
        await this.#flexible.reset(subjectOf(value, tenantOf('reset', given))),
      block: async (value, time, given) => {
        const ms = blockTime(`${this.#where}.block()`, time)
        await this.#flexible.block(subjectOf(value, tenantOf('block', given)), ms)
      },
    }
  }
}

/**
 * Returns a subject with the key that the mounted limiter counts it by. A plain string stays as it
 * is, so that the application's other calls of the limiter mean the same. All others begin with `~`,
 * as no plain string may.
 */
function countedSubject(
  value: Subject | number,
  tenant: string | undefined,
  tag: string,
): CountedSubject {
  const plain = typeof value === 'object' || tenant !== undefined ? '' : String(value)
  const key = /^[^~][^]{0,199}$/.test(plain) ? plain : `~${tag}`
  return { key, tag, subject: shownSubject(value), tenant }
}
