/** Idempotent requests without HTTP: keys and fingerprints in, attempts and answers out. */
import { randomBytes } from 'node:crypto'
import { isUnavailable } from '../../errors.ts'
import type { EventMap } from '../../events.ts'
import type { RequestBudget } from '../../request-budget.ts'
import type { Operation, OperationReply } from '../../store/store.ts'
import type { ExtensionContext } from '../../extension.ts'
import { SharedTimers, retryWrite } from '../lease.ts'
import { Waiters, type AcquireAttempt as Try } from '../waiters.ts'
import { unpacked, type Answer } from './answer.ts'
import { beginOf } from './begin.ts'
import { completeOf } from './complete.ts'
import { release } from './release.ts'
import { Run } from './run.ts'

/** Times in ms. */
export interface EngineOptions {
  /** As it stands in events. */
  name: string
  /** How long answers are kept. */
  ttl: number
  lease: number
  /** How long a running request is renewed at most. */
  maxLease: number
  onCrash: 'rerun' | 'conflict'
}

export type Outcome =
  | { kind: 'run'; run: Run }
  | { kind: 'answered'; answer: Answer }
  | Running
  | { kind: 'mismatch' }
  | { kind: 'interrupted' }

interface Running {
  kind: 'running'
  leftMs: number
}

export interface BeginOptions {
  /** How long to wait for the answer of a request that is running, in ms. */
  wait: number
  signal: AbortSignal | undefined
  budget: RequestBudget
}

const WORDS = {
  answered: 'replayed',
  running: 'running',
  mismatch: 'mismatch',
  interrupted: 'interrupted',
} as const

export class IdempotencyEngine {
  readonly context: ExtensionContext
  readonly options: EngineOptions
  readonly alarms: SharedTimers
  readonly #process = randomBytes(12).toString('base64url')
  readonly #turns: Waiters
  readonly #begin: Operation<number | OperationReply[]>
  readonly complete: Operation<number>
  #count = 0

  constructor(context: ExtensionContext, options: EngineOptions) {
    this.context = context
    this.options = options
    this.alarms = new SharedTimers(context.store)
    this.#begin = beginOf(options)
    this.complete = completeOf(options)
    this.#turns = new Waiters(context.store, `${this.#process}.`)
  }

  /**
   * What is to be done about a request?
   * @param fingerprint a SHA-256 in base64url
   * @throws TP_UNAVAILABLE when Redis cannot answer: nothing may be run
   */
  begin(
    tag: string,
    fingerprint: string,
    { wait, signal, budget }: BeginOptions,
  ): Promise<Outcome> {
    const owner = `${this.#process}.${(++this.#count).toString(36)}`
    const key = this.context.keys.key('idempotency', tag)
    const claim = { tag, key, owner, text: `${fingerprint}${owner}`, since: 0, budget }
    // The wait was promised; only the first question is on the request's budget.
    return this.#ask(claim, undefined, budget).then(
      (reply) => {
        const outcome = this.#read(reply, claim)
        return outcome.kind === 'running' && wait > 0
          ? this.#wait(claim, wait, signal)
          : this.#told(outcome, tag)
      },
      (error: unknown) => this.#giveUp(claim, error),
    )
  }

  #ask(
    claim: Claim,
    channel: string | undefined,
    budget?: RequestBudget,
  ): Promise<number | readonly OperationReply[]> {
    const { store } = this.context
    const { key, text } = claim
    claim.since = store.monotonic()
    return store.run(this.#begin, [key], channel === undefined ? [text] : [text, channel], budget)
  }

  /** Wait for the answer of a request that is running, or for its end. */
  async #wait(claim: Claim, wait: number, signal: AbortSignal | undefined): Promise<Outcome> {
    const { tag, owner } = claim
    const channel = this.context.keys.channel('idempotency', tag)
    const attempt = async (): Promise<Try<Outcome>> => {
      const outcome = this.#read(await this.#ask(claim, channel), claim)
      return outcome.kind === 'running' ? { waitMs: outcome.leftMs } : { got: outcome, more: true }
    }
    try {
      const tried = await this.#turns.acquire(channel, owner, { wait, signal, fair: true }, attempt)
      const running: Running = { kind: 'running', leftMs: 'more' in tried ? 0 : tried.waitMs }
      return this.#told('more' in tried ? tried.got : running, tag)
    } catch (error) {
      return this.#giveUp(claim, error)
    }
  }

  #told(outcome: Outcome, tag: string): Outcome {
    if (outcome.kind !== 'run') this.tell(WORDS[outcome.kind], tag, undefined)
    else this.tell(outcome.run.recovered ? 'recovered' : 'first', tag, outcome.run.attempt)
    return outcome
  }

  #giveUp({ key, text }: Claim, error: unknown): never {
    const { store, events } = this.context
    const { name, lease } = this.options
    if (isUnavailable(error) && error.uncertain) {
      // The reply may have been lost, not the claim: the next attempt shall not find it running.
      const until = store.monotonic() + lease
      void retryWrite(() => store.run(release, [key], [text]), {
        store,
        events,
        feature: 'idempotency',
        name,
        until,
      })
    }
    throw error
  }

  tell(what: EventMap['idempotency']['type'], subject: string, attempt: number | undefined): void {
    const { events } = this.context
    if (events.hasListeners('idempotency'))
      events.emit('idempotency', { name: this.options.name, type: what, attempt, subject })
  }

  #read(reply: number | readonly OperationReply[], claim: Claim): Outcome {
    if (typeof reply === 'number')
      return { kind: 'run', run: new Run(this, claim, reply, 1, undefined) }
    const [kind, first, attempt] = reply as [number, number | Buffer, number]
    switch (kind) {
      case 1:
        return {
          kind: 'run',
          run: new Run(this, claim, first as number, attempt, stepsOf(reply)),
        }
      case 2: {
        const answer = unpacked(first)
        // What cannot be read may not be run again either.
        return answer ? { kind: 'answered', answer } : { kind: 'interrupted' }
      }
      case 3:
        return { kind: 'running', leftMs: first as number }
      case 4:
        return { kind: 'mismatch' }
      default:
        return { kind: 'interrupted' }
    }
  }
}

/** What a run needs to know of its claim. */
export interface Claim {
  tag: string
  key: string
  owner: string
  /** Fingerprint and owner: whose the record is. */
  text: string
  /** When it was asked for, by `store.steady()`. */
  since: number
  /** What the request may wait for Redis. */
  readonly budget: RequestBudget
}

/** What the steps of earlier attempts came to, by name. */
function stepsOf(reply: readonly OperationReply[]): ReadonlyMap<string, Buffer> | undefined {
  if (reply.length <= 3) return undefined
  const steps = new Map<string, Buffer>()
  for (let i = 3; i + 1 < reply.length; i += 2) steps.set(String(reply[i]), reply[i + 1] as Buffer)
  return steps
}
