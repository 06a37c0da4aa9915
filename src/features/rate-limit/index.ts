/** Rate limiting: `tp.rateLimit()`, `tp.limiter()`, `tp.limits`. */
import { boolean, callback, check, either, identifier, isFunction, isObject, optionError, text, whole, word } from '../../check.ts'
import type { Kind } from '../../check.ts'
import type { Exchange, Feature } from '../../http/exchange.ts'
import { subjectOf } from '../../http/ip.ts'
import type { Ground } from '../ground.ts'
import type { Charge } from './charge.ts'
import type { Decision } from './decision.ts'
import { Engine, type EngineOptions } from './engine.ts'
import { needsOnlyRequest, rateLimitFeature, type Decider } from './feature.ts'
import { FlexibleEngine } from './flexible.ts'
import { limiter, type Limiter, type WaitingLimiter } from './limiter.ts'
import type { Key, LimiterOptions, RateLimitOptions } from './options.ts'
import { checked, POLICY, policiesOf, type Policy } from './policy.ts'
import { tagOf } from './subject.ts'

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

const { key: _inRequests, cost: _perCall, ...CALL } = MOUNT

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
  const alone = policies.length === 1 && !policies[0]!.key ? policies[0] : undefined
  const fixed = alone && typeof (alone.costOf ?? cost) === 'number' && alone.limit !== undefined && alone.window !== undefined

  const given = (x: Exchange<Native>, key: Key<Native> | undefined): ReturnType<Key<Native>> =>
    key ? key(x.native) : subjectOf(x.ip, ipv6Subnet)

  const simple = (tag: string): Charge[] => [
    { policy: alone as Policy<never>, tag, limit: alone!.limit!, window: alone!.window!, cost: (alone!.costOf ?? cost) as number },
  ]

  async function charges(x: Exchange<Native>): Promise<Charge[]> {
    const { native } = x
    const tenant = await ground.tenant?.(native)
    const mounts = policies.some(({ key }) => !key) ? tagOf(ground.keys, await given(x, shared), tenant, where) : ''
    return await Promise.all(
      policies.map(async (policy): Promise<Charge> => {
        const { name, key, limitOf, windowOf, costOf = cost } = policy
        const tag = key ? tagOf(ground.keys, await key(native), tenant, where) : mounts
        const limit = limitOf ? checked('limit', await limitOf(native), name) : policy.limit!
        const window = windowOf ? checked('window', await windowOf(native), name) : policy.window!
        const amount = typeof costOf === 'function' ? checked('cost', await costOf(native), name) : costOf
        return { policy: policy as Policy<never>, tag, limit, window, cost: amount }
      }),
    )
  }

  return {
    early: needsOnlyRequest(options as RateLimitOptions<never>) && !ground.tenant,
    now: () => ground.store.now(),
    inBackground: (write) => engine.inBackground(write),
    async decide(x) {
      if (!fixed || ground.tenant) return await engine.consume(await charges(x), x.budget)
      const subject = given(x, shared)
      const tag = tagOf(ground.keys, subject instanceof Promise ? await subject : subject, undefined, where)
      return await engine.consume(simple(tag), x.budget)
    },
  }
}

/** A limiter of rate-limiter-flexible in the place of our engine. */
function foreign<Native>(
  ground: Ground<Native>,
  options: RateLimitOptions<Native>,
  where: string,
): { feature: Feature<Native>; limiter: Limiter } {
  const { limiter: theirs, key, cost = 1, ipv6Subnet, name = theirs!.keyPrefix || 'default' } = options
  const flexible = new FlexibleEngine(theirs!, name, FOREIGN_DEADLINE)
  const { points = 1, duration: seconds = 1 } = theirs!
  const engine = new Engine(ground, engineOptions('rateLimit', name, where, { ...options, denyCache: false }))
  const [policy] = policiesOf<never>(where, { limit: points, window: Math.max(1, seconds) * 1000 }, name).policies

  async function decide(x: Exchange<Native>): Promise<Decision> {
    const given = key ? await key(x.native) : subjectOf(x.ip, ipv6Subnet)
    const tag = tagOf(ground.keys, given, await ground.tenant?.(x.native), where)
    const amount = checked('cost', typeof cost === 'function' ? await cost(x.native) : cost, name)
    try {
      return await flexible.consume(tag, amount)
    } catch (error) {
      const charge = { policy: policy!, tag, limit: policy!.limit!, window: policy!.window!, cost: amount }
      return await engine.withoutStore(error, [charge])
    }
  }
  const decider: Decider<Native> = {
    early: false,
    now: () => ground.store.now(),
    inBackground: (write) => engine.inBackground(write),
    decide,
  }
  const api: Limiter = {
    limiterName: name,
    consume: (subject, how) => flexible.consume(subject, how),
    peek: (subject) => flexible.peek(subject),
    refund: (what, how) => flexible.refund(what, how),
    reset: (subject) => flexible.reset(subject),
    block: (subject, time) => flexible.block(subject, time),
  }
  return { feature: rateLimitFeature(decider, options) as Feature<Native>, limiter: api }
}
