/** `tp.loginGuard()`: brute force and credential stuffing, slowed down before the handler runs. */
import { createHash } from 'node:crypto'
import {
  callback,
  validateOptions,
  identifier,
  optionError,
  integer,
  oneOf,
} from '../../validate.ts'
import { durationOption, durationValidator, type Duration } from '../../duration.ts'
import type { Exchange, Feature, Plan } from '../../http/exchange.ts'
import { addressSubject } from '../../http/client-address.ts'
import type { RequestBudget } from '../../request-budget.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { Charge, LimitDecision } from './charge.ts'
import { addresses, recall } from './addresses.ts'
import { RateLimitEngine } from './engine.ts'
import { refuse } from './feature.ts'
import { MOST, policiesOf, sharedSettings } from './policy.ts'

/** Options of `tp.loginGuard()`. */
export interface LoginGuardOptions<Native> {
  /** Who tries to log in: the e-mail address or user name of the request. What is missing counts as one identity of its own. */
  key: (native: Native) => unknown
  /** Failures that an identity may have from one address within the window. Default 5. */
  limit?: number
  /** Default `'15m'`. */
  window?: Duration
  /** Failures that an address may have over all identities within the window. Default 100. */
  addressLimit?: number
  /** How long a pair is shut out after a refusal. Default: the window. */
  blockFor?: Duration
  /** Each further block is twice as long, up to this. Default `'24h'`, or `blockFor` if that is longer. */
  blockMax?: Duration
  /**
   * Was the attempt a success? Gets the request and the response's status.
   * Default: a status from 200 to 299. Whatever is no success stays counted, errors and aborts too.
   */
  outcome?: (native: Native, status: number) => boolean
  /** Turns an identity into the form it is counted by. Default: NFKC, trimmed, lower case. */
  normalize?: (identity: string) => string
  /** What to do when Redis cannot answer: `'local'` counts in this process and, when that is full, refuses. Default `'local'`. */
  fail?: 'local' | 'open' | 'closed'
  /** Sets this guard's counts apart from another's. Default `'login'`. */
  name?: string
  /** The network size by which IPv6 addresses are grouped, in bits. Default 56. */
  ipv6Subnet?: number
}

/** The engine of a login guard. */
export interface LoginGuard {
  /**
   * Forget the failures of an identity: from one address, or from all addresses it was tried from
   * (the last 1,000 of them). True if there were any.
   * @throws TP_UNAVAILABLE when the store cannot answer
   */
  reset(identity: string, options?: { address?: string; tenant?: string }): Promise<boolean>
}

const KINDS = {
  key: callback,
  limit: integer(1, MOST),
  window: durationValidator,
  addressLimit: integer(1, MOST),
  blockFor: durationValidator,
  blockMax: durationValidator,
  outcome: callback,
  normalize: callback,
  fail: oneOf('local', 'open', 'closed'),
  name: identifier,
  ipv6Subnet: integer(1, 128),
}

const DAY = 86_400_000
const REDIRECTED =
  'tp.loginGuard() cannot tell from a redirect whether a login succeeded, and counts it as a failure: say so with outcome: (req, status) => boolean.'
const normal = (identity: string): string => identity.normalize('NFKC').trim().toLowerCase()

/**
 * The guard as a feature, and its engine. An attempt is charged before the handler runs, to the pair
 * (identity, address) and to the address, in one script: a hundred parallel guesses run the handler
 * `limit` times. Both keys stand in the address's slot.
 */
export function createLoginGuard<Native>(
  context: ExtensionContext<Native>,
  options: LoginGuardOptions<Native>,
): { feature: Feature<Native, never>; guard: LoginGuard } {
  const where = 'tp.loginGuard()'
  validateOptions(where, options, KINDS)
  const {
    key,
    limit = 5,
    window = '15m',
    addressLimit = 100,
    blockFor = window,
    fail = 'local',
    name = 'login',
    ipv6Subnet,
  } = options
  if (!key)
    throw optionError(
      where,
      'key',
      key,
      'a function that gives the identity of the request, like (req) => req.body?.email',
    )
  const {
    outcome = (_native: Native, status: number) => status >= 200 && status < 300,
    normalize = normal,
  } = options
  const blockMax = options.blockMax ?? Math.max(DAY, durationOption(blockFor, where, 'blockFor'))
  const length = durationOption(window, where, 'window')
  const { policies } = policiesOf<never>(
    where,
    {
      policies: [
        { name: 'pair', limit, window, blockFor, blockMax },
        { name: 'address', limit: addressLimit, window },
      ],
    },
    name,
  )
  const [pair, address] = policies
  context.claimName({
    where,
    kind: 'login guard',
    name,
    isExplicit: options.name !== undefined,
    settings: sharedSettings(policies),
  })
  const engine = new RateLimitEngine(context, {
    feature: 'loginGuard',
    name,
    fail,
    thenFail: 'closed',
    countDenied: false,
    overrides: false,
    denyCache: 0,
    shadow: false,
  })
  const remembered = length + durationOption(blockMax, where, 'blockMax')

  /** Identities are hashed: neither Redis nor a log shows who tried. */
  const digest = (identity: unknown): string => {
    const text =
      typeof identity === 'string' ? normalize(identity) : (JSON.stringify(identity) ?? '')
    return createHash('sha256').update(text).digest('base64url')
  }
  const onPair = (tag: string, identity: string): Charge => ({
    policy: pair!,
    tag,
    sub: identity,
    limit,
    window: length,
    cost: 1,
  })
  const onAddress = (tag: string): Charge => ({
    policy: address!,
    tag,
    limit: addressLimit,
    window: length,
    cost: 1,
  })
  const index = (identity: string, tenant: string | undefined): string =>
    context.keys.key('login', context.keys.tag([name, identity], tenant))

  async function handle(x: Exchange<Native>): Promise<Plan> {
    const identity = digest(await key(x.native))
    const tenant = await context.tenantOf(x.native)
    const from = addressSubject(x.ip, ipv6Subnet)
    const tag = context.keys.tag(from, tenant)
    const charges = [onPair(tag, identity), onAddress(tag)]
    const deciding = engine.consume(charges, x.budget)
    // In the same tick: which addresses reset() has to look at.
    if (!context.store.unavailable()) {
      engine.inBackground(
        context.store.run(addresses, [index(identity, tenant)], [from, remembered], x.budget),
      )
    }
    const decision = await deciding
    if (!decision.allowed) return refuse(x, decision)
    return {
      beforeEnd: async (status) => {
        if (!options.outcome && status >= 300 && status < 400) context.events.warn(REDIRECTED)
        if (outcome(x.native, status)) await forgive(charges, decision, x.budget)
      },
    }
  }

  /** A success clears the pair and gives the address back this one attempt. The login stands even if that fails. */
  async function forgive(
    [onThePair, onTheAddress]: Charge[],
    { source, at }: LimitDecision,
    budget: RequestBudget,
  ): Promise<void> {
    if (at === 0) return
    const cleared = [
      engine.reset([onThePair!], budget),
      engine.adjust('r', [onTheAddress!], source, at, budget),
    ]
    for (const each of cleared) engine.inBackground(each)
    await Promise.allSettled(cleared)
  }

  return {
    feature: { name: 'loginGuard', onBackground: 'skip', handle },
    guard: {
      async reset(identity, { address: only, tenant } = {}) {
        const id = digest(identity)
        const from =
          only === undefined
            ? await context.store.run(recall, [index(id, tenant)], [])
            : [addressSubject(only, ipv6Subnet)]
        const cleared = await Promise.all(
          from.map((each) => engine.reset([onPair(context.keys.tag(each, tenant), id)])),
        )
        return cleared.includes(true)
      },
    },
  }
}
