/** A limiter of rate-limiter-flexible in the place of our engine: `tp.rateLimit({ limiter })`. */
import { optionError } from '../../validate.ts'
import { durationOption } from '../../duration.ts'
import type { Feature } from '../../http/exchange.ts'
import { addressSubject } from '../../http/client-address.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { Decision } from './decision.ts'
import { RateLimitEngine } from './engine.ts'
import { engineOptions } from './engine-options.ts'
import { rateLimitFeature, type Decider } from './feature.ts'
import { FlexibleEngine, type Counted } from './flexible.ts'
import { isDecision, type ConsumeOptions, type Limiter, type Subjects } from './limiter.ts'
import type { RateLimitOptions } from './options.ts'
import { checked, policiesOf } from './policy.ts'
import { subjectTag, requireTenant, type KeyValue } from '../../store/subject.ts'

/** How long a foreign limiter may take, in ms: it has no deadline of its own. */
const FOREIGN_DEADLINE = 100

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
export function foreign<Native>(
  context: ExtensionContext<Native>,
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
  const engine = new RateLimitEngine(context, engineOptions('rateLimit', name, where, options))

  /**
   * A plain text stays as it is, so that the application's other calls of the limiter, and its lists
   * of keys, mean the same; nothing else can take the form of one.
   */
  function counted(given: KeyValue, tenant: string | undefined): Counted {
    const subject = subjectTag(context.keys, given, tenant, where)
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
    now: () => context.store.now(),
    inBackground: (write) => engine.inBackground(write),
    async decide(x) {
      const given = key ? await key(x.native) : addressSubject(x.ip, ipv6Subnet)
      const amount = checked('cost', typeof cost === 'function' ? await cost(x.native) : cost, name)
      return await consume(counted(given, await context.tenantOf(x.native)), amount)
    },
  }

  type Call = number | ConsumeOptions | undefined
  const who = (subject: Subjects, how: Call | { tenant?: string }): Counted =>
    counted(
      subject as KeyValue,
      requireTenant(context, typeof how === 'object' ? how.tenant : undefined, where),
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
      await theirs.block(who(subject, how), durationOption(time, `${where}.block()`, 'time')),
  }
  return { feature: rateLimitFeature(decider, options), limiter: api }
}
