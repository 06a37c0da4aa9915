/** Works out what a request is charged, from the options of a mount. */
import type { RuleLookup } from '../../control/active-rules.ts'
import type { ExtensionContext } from '../../extension.ts'
import { addressSubject } from '../../http/client-address.ts'
import type { Exchange } from '../../http/exchange.ts'
import { andThen } from '../../http/promises.ts'
import type { Subject } from '../../store/keys.ts'
import { shownSubject, subjectTag, type KeyValue } from '../../store/subject.ts'
import type { Charge, KnownCharge } from './charge.ts'
import type { Decision } from './decision.ts'
import type { RateLimitEngine } from './engine.ts'
import { needsOnlyRequest, type RequestLimiter } from './feature.ts'
import { closedDecision, ruleDecision, unlimitedDecision } from './limit-decision.ts'
import type { KeyFunction, RateLimitOptions } from './options.ts'
import { checkedValue, type Policy } from './policy.ts'

/** Returns the charges of every request but for their subject, or undefined if one depends on the request. */
export function knownChargesOf(
  policies: readonly Policy<never>[],
  sharedCost: unknown = 1,
): KnownCharge[] | undefined {
  const charges = policies
    .filter(({ limit }) => limit !== Infinity)
    .map((policy) => ({
      policy,
      limit: policy.limit,
      window: policy.window,
      cost: policy.costOf ?? sharedCost,
    }))
  const areKnown = charges.every(({ limit, window, cost }) =>
    [limit, window, cost].every((value) => typeof value === 'number'),
  )
  return areKnown ? (charges as KnownCharge[]) : undefined
}

/**
 * Returns a function that decides without counting, where a mode or rule says so. It returns undefined
 * for all other requests.
 */
const createUncounted =
  (engine: RateLimitEngine, rules: RuleLookup) =>
  (
    x: Exchange,
    subject: Subject,
    tenant: string | undefined,
    tags: string | readonly string[],
  ): Decision | undefined => {
    if (engine.mode === 'closed') return closedDecision(subject, tenant)
    if (rules.size === 0) return undefined
    const effect = rules.effectOn(x.ip, ...(typeof tags === 'string' ? [tags] : tags))
    return effect && ruleDecision(effect, subject, tenant)
  }

/** Creates the limiter of a mount: a request in, a decision out. */
export function createRequestLimiter<Native>(
  context: ExtensionContext<Native>,
  engine: RateLimitEngine,
  policies: readonly Policy<Native>[],
  known: readonly KnownCharge[] | undefined,
  options: RateLimitOptions<Native>,
  where: string,
  rules: RuleLookup,
): RequestLimiter<Native> {
  const { key, cost: sharedCost = 1, ipv6Subnet } = options
  const uncountedOf = createUncounted(engine, rules)
  const usesMountKey = policies.some((policy) => !policy.key)
  const hasOwnKeys = policies.some((policy) => policy.key)
  const subjectOf = (x: Exchange<Native>): ReturnType<KeyFunction<Native>> =>
    key ? key(x.native) : addressSubject(x.ip, ipv6Subnet)

  /** Waits for nothing where only the subject varies, so that a pipeline's commands leave in one tick. */
  function limit(x: Exchange<Native>): Decision | Promise<Decision> {
    if (!known || hasOwnKeys || context.hasTenants) return limitInSteps(x)
    return andThen(subjectOf(x), (value) => charge(x, value))
  }

  function charge(x: Exchange<Native>, value: KeyValue): Decision | Promise<Decision> {
    const tag = subjectTag(context.keys, value, undefined, where, true)
    const subject = shownSubject(value!, tag)
    const uncounted = uncountedOf(x, subject, undefined, tag)
    if (uncounted !== undefined) return engine.report(uncounted)
    const charges: Charge[] = []
    // Written out: a spread for each request costs more than the rest of this function.
    for (const { policy, limit, window, cost } of known!)
      charges.push({ policy, tag, subject, tenant: undefined, limit, window, cost })
    return consume(x, charges, subject, undefined)
  }

  function consume(
    x: Exchange<Native>,
    charges: readonly Charge[],
    subject: Subject,
    tenant: string | undefined,
  ): Decision | Promise<Decision> {
    return charges.length > 0
      ? engine.consume(charges, x.budget)
      : engine.report(unlimitedDecision(subject, tenant))
  }

  async function limitInSteps(x: Exchange<Native>): Promise<Decision> {
    const subject = usesMountKey ? subjectOf(x) : undefined
    // Async, so that a key that throws leaves no other key's promise unobserved.
    const keys = policies.map(async (policy) => (policy.key ? policy.key(x.native) : subject))
    const [tenant, ...values] = await Promise.all([context.tenantOf(x.native), ...keys])
    const charges = await Promise.all(
      policies.map(async (policy, i): Promise<Charge> => ({
        policy: policy as Policy<never>,
        tag: subjectTag(context.keys, values[i], tenant, where, true),
        subject: shownSubject(values[i]!),
        tenant,
        ...(await amountsOf(x.native, policy)),
      })),
    )
    const { subject: first } = charges[0]!
    const tags = charges.map(({ tag }) => tag)
    const uncounted = uncountedOf(x, first, tenant, tags)
    if (uncounted !== undefined) return engine.report(uncounted)
    const limited = charges.filter(({ limit }) => limit !== Infinity)
    return await consume(x, limited, first, tenant)
  }

  async function amountsOf(
    native: Native,
    policy: Policy<Native>,
  ): Promise<Pick<Charge, 'limit' | 'window' | 'cost'>> {
    const { name, limitOf, windowOf, costOf = sharedCost } = policy
    const cost = typeof costOf === 'function' ? await costOf(native) : costOf
    return {
      limit: limitOf ? checkedValue('limit', await limitOf(native), name) : policy.limit!,
      window: windowOf ? checkedValue('window', await windowOf(native), name) : policy.window!,
      cost: checkedValue('cost', cost, name),
    }
  }

  return {
    limit,
    engine,
    needsOnlyRequest: needsOnlyRequest(options) && !context.hasTenants && !hasOwnKeys,
    now: () => context.store.now(),
    inBackground: (write) => engine.inBackground(write),
  }
}
