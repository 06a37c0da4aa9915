/** Idempotent requests without HTTP: keys and fingerprints in, attempts and stored responses out. */
import { isUnavailable, StoreUnavailable } from '../../errors.ts'
import type { CounterRow } from '../../feature-counts.ts'
import type { IdempotencyEvent } from '../../event-types.ts'
import type { RequestBudget } from '../../request-budget.ts'
import type { Operation, OperationReply } from '../../store/store.ts'
import type { ExtensionContext } from '../../extension.ts'
import { HoldTimes } from '../hold-times.ts'
import { ownerPrefix } from '../lease-owner.ts'
import { SharedTimers } from '../lease.ts'
import { retryWrite } from '../retry-write.ts'
import { Waiters, type AcquireAttempt } from '../waiters.ts'
import { WorkInProgress } from '../work-in-progress.ts'
import { Attempt, type AttemptContext, type Claim, type EngineOptions } from './attempt.ts'
import { createBegin, createComplete, readLargeResponse, releaseKey } from './operations.ts'
import { parseResponse, type StoredResponse } from './stored-response.ts'

/** What is known of a request by its key. */
export type BeginResult =
  /** Its handler is to run. */
  | { kind: 'attempt'; attempt: Attempt }
  /** It was completed. */
  | { kind: 'completed'; response: StoredResponse }
  | Running
  /** The key belongs to another request. */
  | { kind: 'mismatch' }
  /** Its last attempt did not end, and it must not run again. */
  | { kind: 'interrupted' }

/** Another attempt is running. */
interface Running {
  kind: 'running'
  /** Time until its lease ends, in ms. */
  leftMs: number
}

export interface BeginOptions {
  /** Longest wait for the response of a running request, in ms. */
  wait: number
  budget: RequestBudget
}

const EVENTS = {
  completed: 'replayed',
  running: 'running',
  mismatch: 'mismatch',
  interrupted: 'interrupted',
} as const

export class IdempotencyEngine implements AttemptContext {
  readonly context: ExtensionContext
  readonly options: EngineOptions
  readonly timers: SharedTimers
  readonly complete: Operation<number>
  readonly runTimes: HoldTimes = new HoldTimes()
  readonly #begin: Operation<number | OperationReply[]>
  readonly #counts: CounterRow
  readonly #ownerPrefix = ownerPrefix()
  readonly #waiters: Waiters
  readonly #running = new WorkInProgress()
  #count = 0

  constructor(context: ExtensionContext, options: EngineOptions) {
    this.context = context
    this.options = options
    this.#counts = context.events.counts.row('idempotency', options.name)
    this.timers = new SharedTimers(context.store)
    this.complete = createComplete(options)
    this.#begin = createBegin(options)
    this.#waiters = new Waiters(context.store, this.#ownerPrefix)
  }

  /** Waits until the responses of running requests are stored. @param signal ends the wait */
  close(signal: AbortSignal): Promise<void> {
    return this.#running.finished(signal)
  }

  track(): () => void {
    return this.#running.begin()
  }

  /**
   * Claims the key of a request, or returns what is known of it.
   * @param fingerprint a SHA-256 in base64url
   * @throws TP_UNAVAILABLE if Redis cannot answer: the handler must not run
   */
  begin(tag: string, fingerprint: string, { wait, budget }: BeginOptions): Promise<BeginResult> {
    if (this.context.closing.aborted) return Promise.reject(new StoreUnavailable('closed', false))
    const owner = `${this.#ownerPrefix}${(++this.#count).toString(36)}`
    const key = this.context.keys.key('idempotency', tag)
    const claim: Claim = {
      tag,
      key,
      owner,
      text: `${fingerprint}${owner}`,
      since: 0,
      began: 0,
      budget,
    }
    const onReply = this.track()
    // The application promised the wait. Only the first question is on the request's budget.
    const settle = (reply: number | OperationReply[]): BeginResult | Promise<BeginResult> => {
      const outcome = this.#parse(reply, claim)
      onReply()
      return outcome.kind === 'running' && wait > 0
        ? this.#wait(claim, wait)
        : this.#report(outcome, claim)
    }
    const withdraw = (error: unknown): never => {
      onReply()
      return this.#withdraw(claim, error)
    }
    return this.#ask(claim, undefined, budget).then((reply) => {
      const large = this.#readLarge(reply, claim, budget)
      return large ? large.then(settle, withdraw) : settle(reply)
    }, withdraw)
  }

  emit(type: IdempotencyEvent['type'], claim: Claim, attempt: number | undefined): void {
    const { events, store } = this.context
    this.#counts.count(type)
    if (!events.hasListeners('idempotency')) return
    const { tag: subject, began } = claim
    const ms = store.monotonic() - began
    events.emit('idempotency', { name: this.options.name, type, attempt, subject, ms })
  }

  #ask(
    claim: Claim,
    channel: string | undefined,
    budget?: RequestBudget,
  ): Promise<number | OperationReply[]> {
    const { store } = this.context
    const { key, text } = claim
    claim.since = store.monotonic()
    claim.began ||= claim.since
    const args = channel === undefined ? [text] : [text, channel]
    return store.run(this.#begin, [key], args, budget)
  }

  /** Reads a response that was too large for a reply. Undefined if the reply contains all. */
  #readLarge(
    reply: number | OperationReply[],
    { key }: Claim,
    budget?: RequestBudget,
  ): Promise<OperationReply[]> | undefined {
    const isLarge = typeof reply !== 'number' && reply[0] === 2 && typeof reply[1] === 'number'
    if (!isLarge) return undefined
    return this.context.store
      .run(readLargeResponse, [key], ['a'], budget)
      .then((response) => [2, ...response])
  }

  /** Waits until the running request has completed or ended. */
  async #wait(claim: Claim, wait: number): Promise<BeginResult> {
    const { tag, owner } = claim
    const channel = this.context.keys.channel('idempotency', tag)
    const attempt = async (): Promise<AcquireAttempt<BeginResult>> => {
      const reply = await this.#ask(claim, channel)
      const outcome = this.#parse((await this.#readLarge(reply, claim)) ?? reply, claim)
      return outcome.kind === 'running'
        ? { waitMs: outcome.leftMs }
        : { acquired: outcome, more: true }
    }
    try {
      const options = { wait, signal: undefined, fair: true }
      const result = await this.#waiters.acquire(channel, owner, options, attempt)
      const outcome: BeginResult = result.acquired ?? { kind: 'running', leftMs: result.waitMs }
      return this.#report(outcome, claim)
    } catch (error) {
      return this.#withdraw(claim, error)
    }
  }

  #report(outcome: BeginResult, claim: Claim): BeginResult {
    if (outcome.kind !== 'attempt') this.emit(EVENTS[outcome.kind], claim, undefined)
    else {
      const { recovered, attempt } = outcome.attempt
      this.emit(recovered ? 'recovered' : 'first', claim, attempt)
    }
    return outcome
  }

  #withdraw({ key, text }: Claim, error: unknown): never {
    const { store, events } = this.context
    const { name, lease } = this.options
    if (isUnavailable(error) && error.uncertain) {
      // The reply may be lost, and the key claimed. Without this the client's retry finds it running.
      const until = store.monotonic() + lease
      const write = (): Promise<number> => store.run(releaseKey, [key], [text])
      void retryWrite(write, { store, events, feature: 'idempotency', name, until })
    }
    throw error
  }

  /** Reads the reply of begin.lua. */
  #parse(reply: number | readonly OperationReply[], claim: Claim): BeginResult {
    if (typeof reply === 'number')
      return { kind: 'attempt', attempt: new Attempt(this, claim, { token: reply, attempt: 1 }) }
    const [kind, first, attempt] = reply as [number, number | Buffer, number]
    switch (kind) {
      case 1: {
        const grant = { token: first as number, attempt, steps: stepsOf(reply) }
        return { kind: 'attempt', attempt: new Attempt(this, claim, grant) }
      }
      case 2: {
        const response = parseResponse(first)
        // A request was completed, even if its response cannot be read. It must not run again.
        return response ? { kind: 'completed', response } : { kind: 'interrupted' }
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

/** Returns the results of the steps of earlier attempts, by name. */
function stepsOf(reply: readonly OperationReply[]): ReadonlyMap<string, Buffer> | undefined {
  if (reply.length <= 3) return undefined
  const steps = new Map<string, Buffer>()
  for (let i = 3; i + 1 < reply.length; i += 2) steps.set(String(reply[i]), reply[i + 1] as Buffer)
  return steps
}
