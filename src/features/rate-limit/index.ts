/** Rate limiting: `tp.rateLimit()`, `tp.limiter()`, `tp.limits`. */
import { boolean, callback, check, either, identifier, isFunction, isObject, optionError, text, whole, word } from '../../check.ts'
import type { Kind } from '../../check.ts'
import type { Exchange, Feature } from '../../http/exchange.ts'
import { duration } from '../../duration.ts'
import { subjectOf } from '../../http/ip.ts'
import type { Ground } from '../ground.ts'
import type { Charge } from './charge.ts'
import type { Decision } from './decision.ts'
import { Engine, type EngineOptions } from './engine.ts'
import { needsOnlyRequest, rateLimitFeature, type Decider } from './feature.ts'
import { FlexibleEngine, type Counted } from './flexible.ts'
import { isDecision, limiter, tenantOf, type ConsumeOptions, type Limiter, type Subjects, type WaitingLimiter } from './limiter.ts'
import type { Key, LimiterOptions, RateLimitOptions } from './options.ts'
import { checked, POLICY, policiesOf, type Policy } from './policy.ts'
import { tagOf, type Given } from './subject.ts'

const MOUNT: Record<string, Kind> = {
  ...POLICY,
  policies: { expected: 'a list of policies', accepts: Array.isArray },
  countDenied: boolean,
  fail: word('local', 'open', 'closed'),
  denyCache: either(boolean, { expected: '{ maxKeys }', accepts: isObject }),
  overrides: boolean,
  limiter: { expected: 'a limiter of rate-limiter-flexible', accepts: (value: unknown) => isFunction((value as { consume?: unknown } | null)?.consume) },
}

const REQUEST: Record<string, Kind> = {
  ...MOUNT,
  skip: callback,
  skipSuccessful: boolean,
  skipFailed: boolean,
  shadow: boolean,
  ipv6Subnet: whole(1, 128),
  headers: boolean,
  legacyHeaders: boolean,
  partitionKey: text,
  onLimited: callback,
  reply: callback,
}

const { key: _inRequests, cost: _perCall, limiter: _foreign, ...CALL } = MOUNT

/** How long a foreign limiter may take. */
const FOREIGN_DEADLINE = 100

function engineOptions(
  feature: EngineOptions['feature'],
  name: string,
  where: string,
  options: Pick<RateLimitOptions<never>, 'fail' | 'countDenied' | 'overrides' | 'denyCache' | 'shadow'>,
): EngineOptions {
  const { fail = 'local', countDenied = false, overrides = true, denyCache = false, shadow = false } = options
  if (denyCache && countDenied) throw optionError(where, 'denyCache', denyCache, 'left out with countDenied, which counts every refusal in Redis')
  const maxKeys = typeof denyCache === 'object' ? denyCache.maxKeys : denyCache ? 10_000 : 0
  return { feature, name, fail, thenFail: 'open', countDenied, overrides, denyCache: maxKeys, shadow }
}

/** `tp.rateLimit()`: the feature to mount, and its engine. */
export function rateLimit<Native>(
  ground: Ground<Native>,
  options: RateLimitOptions<Native>,
): { feature: Feature<Native>; limiter: Limiter } {
  const where = 'tp.rateLimit()'
  check(where, options, REQUEST)
  if (options.limiter) return foreign(ground, options, where)
  const { name, policies } = policiesOf(where, options, options.name)
  ground.claim(name, options.name !== undefined)
  const engine = new Engine(ground, engineOptions('rateLimit', name, where, options))
  const decider = deciderOf(ground, engine, policies, options, where)
  return { feature: rateLimitFeature(decider, options) as Feature<Native>, limiter: limiter(ground, engine, policies as readonly Policy<never>[], where) }
}

/** `tp.limiter()`: counting by a subject that is given with each call. */
export function namedLimiter(ground: Ground, name: string, options: LimiterOptions): WaitingLimiter {
  const where = `tp.limiter('${name}')`
  if (!identifier.accepts(name)) throw optionError('tp.limiter()', 'name', name, identifier.expected, identifier.meant?.(name))
  check(where, options, CALL)
  const { policies } = policiesOf<never>(where, options, name)
  return limiter(ground, new Engine(ground, engineOptions('limiter', name, where, options)), policies, where)
}

/** Works out what each request is charged. */
function deciderOf<Native>(
  ground: Ground<Native>,
  engine: Engine,
  policies: readonly Policy<Native>[],
  options: RateLimitOptions<Native>,
  where: string,
): Decider<Native> {
  const { key: shared, cost = 1, ipv6Subnet } = options
  const ofMount = ({ native, ip }: Exchange<Native>): ReturnType<Key<Native>> =>
    shared ? shared(native) : subjectOf(ip, ipv6Subnet)
  const sharing = policies.some(({ key }) => !key)
  const computed = (policy: Policy<Native>): boolean =>
    Boolean(policy.limitOf ?? policy.windowOf) || typeof (policy.costOf ?? cost) === 'function'
  const fixed = !policies.some(computed)

  /** What each policy counts by: at once, unless a key is a promise. */
  function subjects(x: Exchange<Native>): Given[] | Promise<Given[]> {
    const own = sharing ? ofMount(x) : undefined
    const all = policies.map(({ key }) => (key ? key(x.native) : own))
    return all.some((each) => each instanceof Promise) ? Promise.all(all) : (all as Given[])
  }

  function chargesOf(given: readonly Given[], tenant: string | undefined, values: readonly Values[]): Charge[] {
    return policies.map((policy, i) => ({
      policy: policy as Policy<never>,
      tag: tagOf(ground.keys, given[i], tenant, where),
      ...values[i]!,
    }))
  }

  /** Limits, windows and costs as they stand in the options. */
  const constants = policies.map(({ limit = 0, window = 0, costOf }): Values => ({ limit, window, cost: Number(costOf ?? cost) }))

  /** Those that are functions of the request. */
  async function valuesOf(native: Native, { name, limitOf, windowOf, costOf = cost }: Policy<Native>, i: number): Promise<Values> {
    const { limit, window } = constants[i]!
    return {
      limit: limitOf ? checked('limit', await limitOf(native), name) : limit,
      window: windowOf ? checked('window', await windowOf(native), name) : window,
      cost: checked('cost', typeof costOf === 'function' ? await costOf(native) : costOf, name),
    }
  }

  return {
    early: needsOnlyRequest(options as RateLimitOptions<never>) && !ground.tenant,
    now: () => ground.store.now(),
    inBackground: (write) => engine.inBackground(write),
    async decide(x) {
      // Whatever can be worked out at once is: a pipeline's commands leave in one tick.
      const given = subjects(x)
      const tags = given instanceof Promise ? await given : given
      const tenant = ground.tenant && (await ground.tenant(x.native))
      const values = fixed ? constants : await Promise.all(policies.map((policy, i) => valuesOf(x.native, policy, i)))
      return await engine.consume(chargesOf(tags, tenant, values), x.budget)
    },
  }
}

type Values = Pick<Charge, 'limit' | 'window' | 'cost'>

/** What a foreign limiter brings with it, or cannot do. */
const OWN = ['limit', 'window', 'policies', 'algorithm', 'burst', 'timeZone', 'blockFor', 'blockMax', 'countDenied', 'denyCache', 'overrides'] as const

/** A limiter of rate-limiter-flexible in the place of our engine. */
function foreign<Native>(
  ground: Ground<Native>,
  options: RateLimitOptions<Native>,
  where: string,
): { feature: Feature<Native>; limiter: Limiter } {
  for (const own of OWN) {
    if (options[own] !== undefined) throw optionError(where, own, options[own], 'left out with limiter, which has rules of its own')
  }
  const { key, cost = 1, ipv6Subnet } = options
  const theirs = new FlexibleEngine(options.limiter!, options.name, FOREIGN_DEADLINE, where)
  const { name, policies } = policiesOf<never>(where, { policies: theirs.policies }, options.name ?? theirs.policies.map((each) => each.name).join('_'))
  const engine = new Engine(ground, engineOptions('rateLimit', name, where, options))

  /**
   * A plain text stays as it is, so that the application's other calls of the limiter, and its lists
   * of keys, mean the same; nothing else can take the form of one.
   */
  function counted(given: Given, tenant: string | undefined): Counted {
    const subject = tagOf(ground.keys, given, tenant, where)
    const plain = typeof given === 'object' || tenant !== undefined ? '' : String(given)
    return { subject, key: /^[^~][^]{0,199}$/.test(plain) ? plain : `~${subject}` }
  }

  async function consume(who: Counted, amount: number): Promise<Decision> {
    try {
      return engine.report(await theirs.consume(who, amount))
    } catch (error) {
      const charges = policies.map((policy) => ({ policy, tag: who.subject, limit: policy.limit!, window: policy.window!, cost: amount }))
      return engine.report(await engine.withoutStore(error, charges))
    }
  }

  const decider: Decider<Native> = {
    early: false,
    now: () => ground.store.now(),
    inBackground: (write) => engine.inBackground(write),
    async decide(x) {
      const given = key ? await key(x.native) : subjectOf(x.ip, ipv6Subnet)
      const amount = checked('cost', typeof cost === 'function' ? await cost(x.native) : cost, name)
      return await consume(counted(given, await ground.tenant?.(x.native)), amount)
    },
  }

  type Call = number | ConsumeOptions | undefined
  const who = (subject: Subjects, how: Call | { tenant?: string }): Counted =>
    counted(subject as Given, tenantOf(ground, typeof how === 'object' ? how.tenant : undefined, where))
  const amountOf = (how: Call): number => checked('cost', (typeof how === 'object' ? how.cost : how) ?? 1, name)

  const api: Limiter = {
    limiterName: name,
    consume: async (subject, how) => await consume(who(subject, how), amountOf(how)),
    peek: async (subject, how) => await theirs.peek(who(subject, how), amountOf(how)),
    refund: async (what, how) => (isDecision(what) ? await what.refund() : await theirs.refund(who(what, how), amountOf(how))),
    reset: async (subject, how) => await theirs.reset(who(subject, how)),
    block: async (subject, time, how) => await theirs.block(who(subject, how), duration(time, `${where}.block()`, 'time')),
  }
  return { feature: rateLimitFeature(decider, options) as Feature<Native>, limiter: api }
}
