/** Rate limiting: `tp.rateLimit()`, `tp.limiter()`, `tp.limits`. */
import {
  boolean,
  callback,
  check,
  either,
  identifier,
  isFunction,
  isObject,
  optionError,
  text,
  whole,
  word,
} from '../../check.ts'
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
import {
  isDecision,
  limiter,
  tenantOf,
  type ConsumeOptions,
  type Limiter,
  type Subjects,
  type WaitingLimiter,
} from './limiter.ts'
import type { Key, LimiterOptions, RateLimitOptions } from './options.ts'
import { checked, FIXED_WINDOW, MOST, POLICY, policiesOf, type Policy } from './policy.ts'
import { tagOf, type Given } from './subject.ts'

const MOUNT: Record<string, Kind> = {
  ...POLICY,
  policies: { expected: 'a list of policies', accepts: Array.isArray },
  countDenied: boolean,
  fail: word('local', 'open', 'closed'),
  denyCache: either(boolean, { expected: '{ maxKeys }', accepts: isObject }),
  overrides: boolean,
  limiter: {
    expected: 'a limiter of rate-limiter-flexible',
    accepts: (value: unknown) => isFunction((value as { consume?: unknown } | null)?.consume),
  },
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

const { key: _inRequests, cost: _perCall, limiter: _foreign, ...REST } = MOUNT
const CALL: Record<string, Kind> = { ...REST, limit: whole(0, MOST), window: FIXED_WINDOW }

/** How long a foreign limiter may take. */
const FOREIGN_DEADLINE = 100

function engineOptions(
  feature: EngineOptions['feature'],
  name: string,
  where: string,
  options: Pick<
    RateLimitOptions<never>,
    'fail' | 'countDenied' | 'overrides' | 'denyCache' | 'shadow'
  >,
): EngineOptions {
  const {
    fail = 'local',
    countDenied = false,
    overrides = true,
    denyCache = false,
    shadow = false,
  } = options
  if (denyCache && countDenied)
    throw optionError(
      where,
      'denyCache',
      denyCache,
      'left out with countDenied, which counts every refusal in Redis',
    )
  const maxKeys = typeof denyCache === 'object' ? denyCache.maxKeys : denyCache ? 10_000 : 0
  return {
    feature,
    name,
    fail,
    thenFail: 'open',
    countDenied,
    overrides,
    denyCache: maxKeys,
    shadow,
  }
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
  warnOfMilliseconds(ground, where, options)
  ground.claim(name, options.name !== undefined)
  const plain = policies as readonly Policy<never>[]
  const constants = constantsOf(plain, options.cost)
  const engine = new Engine(ground, engineOptions('rateLimit', name, where, options), constants)
  const decider = deciderOf(ground, engine, policies, constants, options, where)
  return {
    feature: rateLimitFeature(decider, options) as Feature<Native>,
    limiter: limiter(ground, engine, plain, where),
  }
}

/** `tp.limiter()`: counting by a subject that is given with each call. */
export function namedLimiter(
  ground: Ground,
  name: string,
  options: LimiterOptions,
): WaitingLimiter {
  const where = `tp.limiter('${name}')`
  if (!identifier.accepts(name))
    throw optionError('tp.limiter()', 'name', name, identifier.expected, identifier.meant?.(name))
  check(where, options, CALL)
  const { policies } = policiesOf<never>(where, options, name)
  warnOfMilliseconds(ground, where, options)
  const engine = new Engine(
    ground,
    engineOptions('limiter', name, where, options),
    constantsOf(policies, 1),
  )
  return limiter(ground, engine, policies, where)
}

/** Other packages count in seconds. */
function warnOfMilliseconds(
  ground: Ground,
  where: string,
  { window, policies = [] }: Pick<LimiterOptions, 'window' | 'policies'> | RateLimitOptions<never>,
): void {
  for (const each of [window, ...policies.map((policy) => policy.window)]) {
    if (typeof each === 'number' && each < 1000)
      ground.events.warn(
        `${where}: window: ${each} is ${each} milliseconds. For seconds write '${each}s'.`,
      )
  }
}

/** What each charge is but for its subject, if none of it is a function of the request. */
function constantsOf(
  policies: readonly Policy<never>[],
  shared: unknown = 1,
): Constant[] | undefined {
  const constants = policies.map((policy) => ({
    policy,
    limit: policy.limit,
    window: policy.window,
    cost: policy.costOf ?? shared,
  }))
  const known = constants.every(({ limit, window, cost }) =>
    [limit, window, cost].every((value) => typeof value === 'number'),
  )
  return known ? (constants as Constant[]) : undefined
}

type Constant = Omit<Charge, 'tag'>

/** Works out what each request is charged. */
function deciderOf<Native>(
  ground: Ground<Native>,
  engine: Engine,
  policies: readonly Policy<Native>[],
  constants: readonly Constant[] | undefined,
  options: RateLimitOptions<Native>,
  where: string,
): Decider<Native> {
  const { key: shared, cost = 1, ipv6Subnet } = options
  const sharing = policies.some(({ key }) => !key)
  const several = policies.some(({ key }) => key)
  const ofMount = (x: Exchange<Native>): ReturnType<Key<Native>> =>
    shared ? shared(x.native) : subjectOf(x.ip, ipv6Subnet)

  /** Where only the subject varies, nothing has to be awaited: a pipeline's commands leave in one tick. */
  function decide(x: Exchange<Native>): Promise<Decision> {
    if (!constants || several || ground.tenant) return workedOut(x)
    const given = ofMount(x)
    if (given instanceof Promise)
      return given.then((subject) => charge(x, tagOf(ground.keys, subject, undefined, where)))
    return charge(x, tagOf(ground.keys, given, undefined, where))
  }

  function charge(x: Exchange<Native>, tag: string): Promise<Decision> {
    const charges: Charge[] = []
    for (const { policy, limit, window, cost: amount } of constants!)
      charges.push({ policy, tag, limit, window, cost: amount })
    return engine.consume(charges, x.budget, true)
  }

  async function workedOut(x: Exchange<Native>): Promise<Decision> {
    const given = sharing ? ofMount(x) : undefined
    const keys = policies.map(({ key }) => (key ? key(x.native) : given))
    const [tenant, ...subjects] = await Promise.all([ground.tenant?.(x.native), ...keys])
    const charges = await Promise.all(
      policies.map(async (policy, i): Promise<Charge> => ({
        policy: policy as Policy<never>,
        tag: tagOf(ground.keys, subjects[i], tenant, where),
        ...(await amountsOf(x.native, policy)),
      })),
    )
    return await engine.consume(charges, x.budget)
  }

  async function amountsOf(
    native: Native,
    policy: Policy<Native>,
  ): Promise<Pick<Charge, 'limit' | 'window' | 'cost'>> {
    const { name, limitOf, windowOf, costOf = cost } = policy
    return {
      limit: limitOf ? checked('limit', await limitOf(native), name) : policy.limit!,
      window: windowOf ? checked('window', await windowOf(native), name) : policy.window!,
      cost: checked('cost', typeof costOf === 'function' ? await costOf(native) : costOf, name),
    }
  }

  return {
    early: needsOnlyRequest(options as RateLimitOptions<never>) && !ground.tenant && !several,
    now: () => ground.store.now(),
    inBackground: (write) => engine.inBackground(write),
    decide,
  }
}

/** What a foreign limiter brings with it, or cannot do. */
const OWN = [
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
  'overrides',
] as const

/** A limiter of rate-limiter-flexible in the place of our engine. */
function foreign<Native>(
  ground: Ground<Native>,
  options: RateLimitOptions<Native>,
  where: string,
): { feature: Feature<Native>; limiter: Limiter } {
  for (const own of OWN) {
    if (options[own] !== undefined)
      throw optionError(
        where,
        own,
        options[own],
        'left out with limiter, which has rules of its own',
      )
  }
  const { key, cost = 1, ipv6Subnet } = options
  const theirs = new FlexibleEngine(options.limiter!, options.name, FOREIGN_DEADLINE, where)
  const { name, policies } = policiesOf<never>(
    where,
    { policies: theirs.policies },
    options.name ?? theirs.policies.map((each) => each.name).join('_'),
  )
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
      const charges = policies.map((policy) => ({
        policy,
        tag: who.subject,
        limit: policy.limit!,
        window: policy.window!,
        cost: amount,
      }))
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
    counted(
      subject as Given,
      tenantOf(ground, typeof how === 'object' ? how.tenant : undefined, where),
    )
  const amountOf = (how: Call): number =>
    checked('cost', (typeof how === 'object' ? how.cost : how) ?? 1, name)

  const api: Limiter = {
    limiterName: name,
    consume: async (subject, how) => await consume(who(subject, how), amountOf(how)),
    peek: async (subject, how) => await theirs.peek(who(subject, how), amountOf(how)),
    refund: async (what, how) =>
      isDecision(what) ? await what.refund() : await theirs.refund(who(what, how), amountOf(how)),
    reset: async (subject, how) => await theirs.reset(who(subject, how)),
    block: async (subject, time, how) =>
      await theirs.block(who(subject, how), duration(time, `${where}.block()`, 'time')),
  }
  return { feature: rateLimitFeature(decider, options) as Feature<Native>, limiter: api }
}
