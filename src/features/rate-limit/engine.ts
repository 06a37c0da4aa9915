/** The rate limiter without HTTP: charges in, decisions out. */
import { isUnavailable, TurnpikeError } from '../../errors.ts'
import type { Emitter } from '../../events.ts'
import type { Budget } from '../../store/budget.ts'
import type { Arg, Store } from '../../store/store.ts'
import type { Ground } from '../ground.ts'
import { decisionOf, LimitDecision, unitedOf } from './charge.ts'
import type { Charge } from './charge.ts'
import { DenyCache } from './deny-cache.ts'
import type { Decision, Source } from './decision.ts'
import type { Fail } from './options.ts'
import type { Policy } from './policy.ts'
import { reset } from './reset.ts'
import { take } from './take.ts'

/** How many runs a sliding window's log holds at most: it over-holds by window / RUNS, and is exact for limits up to it. */
const RUNS = '64'

export interface EngineOptions {
  feature: 'rateLimit' | 'loginGuard' | 'limiter'
  name: string
  fail: Fail
  /** After `fail: 'local'` when the floor itself cannot count. */
  thenFail: 'open' | 'closed'
  countDenied: boolean
  overrides: boolean
  denyCache: number
  shadow: boolean
}

type Verb = 'c' | 'd' | 'p' | 'f' | 'r' | 'b'

/** Counts the charges of one mount against its policies, by one script call for each slot. */
export class Engine {
  readonly options: EngineOptions
  readonly #ground: Ground
  readonly #denied: DenyCache | undefined

  constructor(ground: Ground, options: EngineOptions) {
    this.#ground = ground
    this.options = options
    if (options.denyCache > 0) {
      this.#denied = new DenyCache(options.denyCache)
      ground.store.subscribe(this.#channel, (tag) => this.#denied!.forget(tag))
    }
  }

  get events(): Emitter {
    return this.#ground.events
  }

  get #verb(): 'c' | 'd' {
    return this.options.countDenied ? 'd' : 'c'
  }

  get #channel(): string {
    return this.#ground.keys.channel('limit', 'reset')
  }

  /** Charge, all or nothing. Never rejects because Redis is away: then the failure rule decides. */
  async consume(charges: readonly Charge[], budget?: Budget): Promise<LimitDecision> {
    const remembered = this.#denied?.find(charges, this.#ground.store.now())
    if (remembered) return this.report(new LimitDecision(this, charges, 'deny-cache', false, remembered, 0))
    let decision: LimitDecision
    try {
      decision = await this.#decide(this.#verb, charges, budget)
    } catch (error) {
      decision = await this.withoutStore(error, charges)
    }
    if (!decision.allowed) this.#denied?.remember(charges, decision, this.#ground.store.now())
    return this.report(decision)
  }

  /** What a consume would be answered; nothing is written. @throws TP_UNAVAILABLE */
  async peek(charges: readonly Charge[]): Promise<LimitDecision> {
    const { source, allowed, policies } = await this.#decide('p', charges)
    // At 0, so that it cannot be refunded: nothing was charged.
    return new LimitDecision(this, charges, source, allowed, policies, 0)
  }

  /** Charge even beyond the limit, or give back, where a decision was made. @throws TP_UNAVAILABLE */
  async adjust(verb: 'f' | 'r', charges: readonly Charge[], source: Source, at: number): Promise<void> {
    const store = source === 'local' ? this.#floor : this.#ground.store
    await Promise.all(this.#groups(charges).map((group) => this.#run(store, verb, group, at)))
  }

  /** Forget everything counted for these charges, here and in other processes' deny caches. @throws TP_UNAVAILABLE */
  async reset(charges: readonly Charge[]): Promise<boolean> {
    const groups = this.#groups(charges)
    const forgotten = await Promise.all(
      groups.map((group) => {
        const keys = group.map((charge) => this.#key(charge))
        void this.#floor.run(reset, keys, ['', '']).catch(() => {})
        return this.#ground.store.run(reset, keys, [this.#channel, group[0]!.tag])
      }),
    )
    return forgotten.some((count) => count > 0)
  }

  /** Refuse everything for `ms`. @throws TP_UNAVAILABLE */
  async block(charges: readonly Charge[], ms: number): Promise<void> {
    const blocks = charges.map((charge) => ({ ...charge, cost: ms }))
    await Promise.all(this.#groups(blocks).map((group) => this.#run(this.#ground.store, 'b', group, 0)))
  }

  async #decide(verb: Verb, charges: readonly Charge[], budget?: Budget): Promise<LimitDecision> {
    const groups = this.#groups(charges)
    if (groups.length === 1) {
      return decisionOf(this, charges, 'store', await this.#run(this.#ground.store, verb, charges, 0, budget))
    }
    const settled = await Promise.allSettled(
      groups.map(async (group) =>
        decisionOf(this, group, 'store', await this.#run(this.#ground.store, verb, group, 0, budget)),
      ),
    )
    const decisions = settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
    const failure = settled.find((each) => each.status === 'rejected')
    if (failure || decisions.some((decision) => !decision.allowed)) {
      for (const decision of decisions) this.inBackground(decision.refund())
    }
    if (failure) throw failure.reason
    return unitedOf(this, charges, decisions)
  }

  /** What the failure rule says when the store could not be asked; other errors are thrown on. */
  async withoutStore(error: unknown, charges: readonly Charge[]): Promise<LimitDecision> {
    if (!isUnavailable(error)) throw error
    const { feature, name, fail, thenFail } = this.options
    if (this.events.hears('unavailable')) {
      const { reason, uncertain } = error
      this.events.emit('unavailable', { feature, name, reason, uncertain, rule: fail })
    }
    if (fail === 'local') {
      const part = charges.map((charge) => ({ ...charge, limit: Math.ceil(charge.limit / this.#ground.instances) }))
      try {
        return decisionOf(this, part, 'local', await this.#run(this.#floor, this.#verb, part, 0))
      } catch (full) {
        if (!isUnavailable(full)) throw full
      }
    }
    const rule = fail === 'local' ? thenFail : fail
    return new LimitDecision(this, charges, rule, rule === 'open', [], 0)
  }

  get #floor(): Store {
    const { evicting, refusing } = this.#ground.floor
    return this.options.thenFail === 'closed' ? refusing : evicting
  }

  /** One script call; again, if a calendar period ended on the way. */
  async #run(store: Store, verb: Verb, charges: readonly Charge[], at: number, budget?: Budget): Promise<number[]> {
    const keys = charges.map((charge) => this.#key(charge))
    const tags = this.options.overrides ? [...new Set(charges.map(({ tag }) => tag))] : []
    for (const tag of tags) keys.push(this.#ground.keys.key('limits', tag))
    let now = store.now()
    for (let attempt = 0; attempt < 3; attempt++) {
      const args = argumentsOf(verb, charges, tags, at, now)
      const reply = (await store.run(take, keys, args, budget)) as number[]
      if (reply[0] !== -1) return reply
      now = reply[1]!
    }
    throw new TurnpikeError('TP_COMMAND', "The server's clock jumps: no calendar period holds it.")
  }

  #key({ policy, tag, sub }: Charge): string {
    return this.#ground.keys.key('limit', tag, sub === undefined ? policy.sub : `${policy.sub}:${sub}`)
  }

  /** On a Cluster a script's keys must share a slot: one group for each subject. Elsewhere one for all. */
  #groups(charges: readonly Charge[]): (readonly Charge[])[] {
    const [first, ...rest] = charges
    if (!this.#ground.store.cluster || rest.every(({ tag }) => tag === first!.tag)) return [charges]
    const groups = new Map<string, Charge[]>()
    for (const charge of charges) groups.set(charge.tag, [...(groups.get(charge.tag) ?? []), charge])
    return [...groups.values()]
  }

  /** Tells whoever listens, and gives the decision back. */
  report<Made extends Decision>(decision: Made): Made {
    if (!this.events.hears('decision')) return decision
    const { allowed, source, subject, tightest, limit, remaining, retryAfterMs } = decision
    const { feature, name } = this.options
    const shadow = this.options.shadow && !allowed
    const policy = tightest?.name
    this.events.emit('decision', { feature, name, allowed, shadow, source, policy, limit, remaining, retryAfterMs, subject })
    return decision
  }

  /** For a write that nobody waits for: its failure is reported, never swallowed. */
  inBackground(write: Promise<unknown>): void {
    const { feature, name } = this.options
    write.catch((error: unknown) => this.events.emit('error', { feature, name, error }))
  }
}

/** ARGV of take.lua. */
function argumentsOf(verb: Verb, charges: readonly Charge[], tags: readonly string[], at: number, now: number): Arg[] {
  const args: Arg[] = [verb, charges.length, at]
  for (const { policy, tag, limit, window, cost } of charges) {
    const { letter, name, burst, calendar, block, blockMax } = policy as Policy<never>
    let length = window
    let aux: Arg = letter === 's' ? RUNS : letter === 'g' ? (burst ?? limit) : ''
    if (calendar) {
      const period = calendar(now)
      aux = period.start
      length = period.end - period.start
    }
    args.push(letter, name, limit, length, aux, cost, block, blockMax, tags.length === 0 ? 0 : tags.indexOf(tag) + 1)
  }
  return args
}

