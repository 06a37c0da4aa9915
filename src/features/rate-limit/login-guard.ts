/** `tp.loginGuard()`: slows down brute force and credential stuffing before the handler runs. */
import { durationOption } from '../../duration.ts'
import type { RuleLookup } from '../../control/active-rules.ts'
import { TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import { addressSubject } from '../../http/client-address.ts'
import type { Exchange, Feature, Plan } from '../../http/exchange.ts'
import type { RequestBudget } from '../../request-budget.ts'
import { requireTenant } from '../../store/subject.ts'
import { optionError, validateOptions } from '../../validate.ts'
import { RequestMemo } from '../request-memo.ts'
import { normalizeAddress } from './addresses.ts'
import type { Charge } from './charge.ts'
import type { Decision } from './decision.ts'
import { RateLimitEngine } from './engine.ts'
import { refusalOf } from './feature.ts'
import { ruleDecision, unlimitedDecision } from './limit-decision.ts'
import {
  GUARD_OPTIONS,
  GUARD_RESET_OPTIONS,
  type LoginGuard,
  type LoginGuardOptions,
} from './login-guard-options.ts'
import { identityDigest, normalizeIdentity } from './login-identity.ts'
import { recordAddress, takeAddresses } from './operations/attempt-addresses.ts'
import { describeLimit } from './limit-description.ts'
import { policiesOf, sharedSettings, type Policy } from './policy.ts'

const WHERE = 'tp.loginGuard()'
const DAY = 86_400_000
/** Stands for all identities in keys. A part keeps them apart from those of a rate limit with the guard's name. */
const ALL = 'all'
const REDIRECTED = `${WHERE} cannot see from a redirect whether a login succeeded, and counts it as a failure. Write: outcome: (req, status) => boolean.`
const UNPARSED = `${WHERE}: \`key\` returned undefined for a request whose body is not parsed, so only its address was counted. Mount the guard after the body parser: app.post('/login', express.json(), guard, handler).`

/** Creates the guard as a feature, and what can be done with it outside a request. */
export function createLoginGuard<Native>(
  context: ExtensionContext<Native>,
  options: LoginGuardOptions<Native>,
  rules: RuleLookup,
): { feature: Feature<Native, never>; guard: LoginGuard } {
  validateOptions(WHERE, options, GUARD_OPTIONS)
  if (!options.key)
    throw optionError(
      WHERE,
      'key',
      options.key,
      'a function that returns the identity of the request, like (req) => req.body?.email',
    )
  const guard = new Guard(context, options, rules)
  return {
    feature: { name: 'loginGuard', onBackground: 'skip', handle: (x) => guard.handle(x) },
    guard: { reset: (identity, options) => guard.reset(identity, options) },
  }
}

/** What was charged for one request. */
interface Attempt {
  readonly decision: Decision
  /** Undefined if the client tried no identity, or identities are not limited. */
  readonly onPair: Charge | undefined
  readonly onAddress: Charge | undefined
}

/**
 * Charges an attempt before the handler runs, to the pair (identity, address) and to the address, in
 * one script. A hundred parallel guesses run the handler `limit` times. Both keys are in the
 * address's hash slot.
 */
class Guard<Native> {
  readonly #context: ExtensionContext<Native>
  readonly #options: LoginGuardOptions<Native>
  readonly #rules: RuleLookup
  readonly #normalize: (identity: string) => string
  readonly #name: string
  readonly #pair: Policy<never>
  readonly #address: Policy<never>
  readonly #engine: RateLimitEngine
  /** How long the addresses of an identity are remembered: until its last count or block is over. */
  readonly #rememberFor: number
  /** A request that reaches the guard again is charged once. */
  readonly #attempted = new RequestMemo<Promise<Attempt>>('turnpike.attempt')

  constructor(
    context: ExtensionContext<Native>,
    options: LoginGuardOptions<Native>,
    rules: RuleLookup,
  ) {
    const { limit = 5, window = '15m', addressLimit = 100, blockFor = window } = options
    const { name = 'login', fail = 'local', normalize = normalizeIdentity } = options
    const blockMax = options.blockMax ?? Math.max(DAY, durationOption(blockFor, WHERE, 'blockFor'))
    const { policies } = policiesOf<never>(
      WHERE,
      {
        policies: [
          { name: 'pair', limit, window, blockFor, blockMax },
          { name: 'address', limit: addressLimit, window },
        ],
      },
      name,
    )
    context.claimName({
      where: WHERE,
      kind: 'login guard',
      name,
      isExplicit: options.name !== undefined,
      settings: sharedSettings(policies),
    })
    this.#context = context
    this.#options = options
    this.#rules = rules
    this.#normalize = normalize
    this.#name = name
    this.#pair = policies[0]!
    this.#address = policies[1]!
    this.#engine = new RateLimitEngine(context, {
      feature: 'loginGuard',
      name,
      fail,
      thenFail: 'closed',
      countDenied: false,
      overrides: false,
      denyCache: 0,
      shadow: false,
      lease: 0,
    })
    describeLimit(context.events.counts, this.#engine.options, policies)
    this.#rememberFor = this.#pair.window! + this.#pair.blockMax
  }

  async handle(x: Exchange<Native>): Promise<Plan> {
    const earlier = this.#attempted.get(x)
    if (earlier) {
      const { decision } = await earlier
      return decision.allowed ? {} : this.#refuse(decision)
    }
    const attempt = await this.#attempted.set(x, this.#attempt(x))
    if (!attempt.decision.allowed) return this.#refuse(attempt.decision)
    return { beforeEnd: (status) => this.#forgiveIfSucceeded(x, attempt, status) }
  }

  /** Deletes the failures of an identity. */
  async reset(
    identity: string,
    options: { address?: string; tenant?: string } = {},
  ): Promise<boolean> {
    // A misspelled `address` would clear all addresses.
    validateOptions(`${WHERE}.reset()`, options, GUARD_RESET_OPTIONS)
    const { address: only, tenant } = options
    requireTenant(this.#context, tenant, `${WHERE}.reset()`)
    const digest = identityDigest(identity, this.#normalize)
    if (digest === undefined)
      throw new TurnpikeError('TP_KEY', `${WHERE}.reset(): the identity is empty.`)
    const addresses =
      only === undefined
        ? await this.#context.store.run(takeAddresses, [this.#indexKey(digest, tenant)], [])
        : [normalizeAddress(only, this.#options.ipv6Subnet) ?? only]
    const wereReset = await Promise.all(
      addresses.map((address) =>
        this.#engine.reset([this.#chargeOf(this.#pair, address, tenant, digest)]),
      ),
    )
    return wereReset.includes(true)
  }

  async #attempt(x: Exchange<Native>): Promise<Attempt> {
    const value = await this.#options.key(x.native)
    if (value === undefined && x.hasBody && !isBodyParsed(x.native))
      this.#context.events.warn(UNPARSED)
    const digest = identityDigest(value, this.#normalize)
    const tenant = await this.#context.tenantOf(x.native)
    const address = addressSubject(x.ip, this.#options.ipv6Subnet)
    const effect =
      this.#rules.size === 0
        ? undefined
        : this.#rules.effectOn(x.ip, this.#context.keys.tag(address, tenant))
    if (effect !== undefined) {
      const decision = this.#engine.report(ruleDecision(effect, address, tenant))
      return { decision, onPair: undefined, onAddress: undefined }
    }
    const onPair =
      digest === undefined || this.#pair.limit === Infinity
        ? undefined
        : this.#chargeOf(this.#pair, address, tenant, digest)
    const onAddress =
      this.#address.limit === Infinity
        ? undefined
        : this.#chargeOf(this.#address, address, tenant, ALL)
    const charges = [onPair, onAddress].filter((each) => each !== undefined)
    const decision =
      charges.length > 0
        ? await this.#engine.consume(charges, x.budget)
        : this.#engine.report(unlimitedDecision(address, tenant))
    // Only now: a refused attempt writes nothing, however many identities it is made for.
    if (onPair && decision.allowed && decision.source === 'store')
      this.#engine.inBackground(
        this.#context.store.run(
          recordAddress,
          [this.#indexKey(digest!, tenant)],
          [address, this.#rememberFor],
        ),
      )
    return { decision, onPair, onAddress }
  }

  /** Rejects if `outcome` throws: then the login fails. */
  async #forgiveIfSucceeded(x: Exchange<Native>, attempt: Attempt, status: number): Promise<void> {
    const { outcome } = this.#options
    if (!outcome && status >= 300 && status < 400) this.#context.events.warn(REDIRECTED)
    const hasSucceeded = outcome ? await outcome(x.native, status) : status >= 200 && status < 300
    if (hasSucceeded) await this.#forgive(attempt, x.budget)
  }

  /** Clears the pair, and refunds the address this one attempt. If that fails, the login succeeds all the same. */
  async #forgive(
    { decision: { source, at }, onPair, onAddress }: Attempt,
    budget: RequestBudget,
  ): Promise<void> {
    if (at === 0) return
    const writes: Promise<unknown>[] = []
    if (onPair) writes.push(this.#engine.reset([onPair], budget))
    if (onAddress) writes.push(this.#engine.adjust('refund', [onAddress], source, at, budget))
    for (const write of writes) this.#engine.inBackground(write)
    await Promise.allSettled(writes)
  }

  #refuse(decision: Decision): Plan {
    return { refusal: refusalOf(decision), replyWith: this.#options.reply }
  }

  #chargeOf(
    policy: Policy<never>,
    address: string,
    tenant: string | undefined,
    part: string,
  ): Charge {
    const tag = this.#context.keys.tag(address, tenant)
    const { limit, window } = policy
    return {
      policy,
      tag,
      subject: address,
      tenant,
      part,
      limit: limit!,
      window: window!,
      cost: 1,
    }
  }

  /** The key of the addresses that an identity was tried from. */
  #indexKey(digest: string, tenant: string | undefined): string {
    return this.#context.keys.key('login', this.#context.keys.tag([this.#name, digest], tenant))
  }
}

/** Returns true if a body parser ran in front of the guard. */
function isBodyParsed(native: unknown): boolean {
  const { body, request } = native as { body?: unknown; request?: { body?: unknown } }
  // Koa's own `body` is that of the response.
  return (request === undefined ? body : request.body) !== undefined
}
