/** What each request is charged, worked out from a mount's options. */
import type { Exchange } from '../../http/exchange.ts'
import { addressSubject } from '../../http/client-address.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { Charge } from './charge.ts'
import type { Decision } from './decision.ts'
import type { RateLimitEngine } from './engine.ts'
import { needsOnlyRequest, type Decider } from './feature.ts'
import type { KeyFunction, RateLimitOptions } from './options.ts'
import { checked, type Policy } from './policy.ts'
import { subjectTag } from '../../store/subject.ts'

/** A charge but for its subject. */
export type Constant = Omit<Charge, 'tag'>

/** What each charge is but for its subject, if none of it is a function of the request. */
export function constantsOf(
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

/** Works out what each request is charged. */
export function deciderOf<Native>(
  context: ExtensionContext<Native>,
  engine: RateLimitEngine,
  policies: readonly Policy<Native>[],
  constants: readonly Constant[] | undefined,
  options: RateLimitOptions<Native>,
  where: string,
): Decider<Native> {
  const { key: shared, cost = 1, ipv6Subnet } = options
  const sharing = policies.some(({ key }) => !key)
  const several = policies.some(({ key }) => key)
  const ofMount = (x: Exchange<Native>): ReturnType<KeyFunction<Native>> =>
    shared ? shared(x.native) : addressSubject(x.ip, ipv6Subnet)

  /** Where only the subject varies, nothing has to be awaited: a pipeline's commands leave in one tick. */
  function decide(x: Exchange<Native>): Promise<Decision> {
    if (!constants || several || context.hasTenants) return workedOut(x)
    const given = ofMount(x)
    if (given instanceof Promise)
      return given.then((subject) => charge(x, subjectTag(context.keys, subject, undefined, where)))
    return charge(x, subjectTag(context.keys, given, undefined, where))
  }

  function charge(x: Exchange<Native>, tag: string): Promise<Decision> {
    const charges: Charge[] = []
    for (const { policy, limit, window, cost: amount } of constants!)
      charges.push({ policy, tag, limit, window, cost: amount })
    return engine.consume(charges, x.budget)
  }

  async function workedOut(x: Exchange<Native>): Promise<Decision> {
    const given = sharing ? ofMount(x) : undefined
    const keys = policies.map(({ key }) => (key ? key(x.native) : given))
    const [tenant, ...subjects] = await Promise.all([context.tenantOf(x.native), ...keys])
    const charges = await Promise.all(
      policies.map(async (policy, i): Promise<Charge> => ({
        policy: policy as Policy<never>,
        tag: subjectTag(context.keys, subjects[i], tenant, where),
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
    early: needsOnlyRequest(options) && !context.hasTenants && !several,
    now: () => context.store.now(),
    inBackground: (write) => engine.inBackground(write),
    decide,
  }
}
