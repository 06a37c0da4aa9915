/** One attempt at a request: it holds the key until it completes or releases it. */
import { isUnavailable, TurnpikeError } from '../../errors.ts'
import type { IdempotencyEvent } from '../../event-types.ts'
import type { RequestBudget } from '../../request-budget.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { Operation } from '../../store/store.ts'
import type { HoldTimes } from '../hold-times.ts'
import { Lease, lossWithCause, type SharedTimers } from '../lease.ts'
import { retryWrite } from '../retry-write.ts'
import { parseStoredJson } from '../../stored-json.ts'
import { digestOf } from './fingerprint.ts'
import { releaseKey, renewKey, saveStep, type RecordTerms } from './operations.ts'
import type { StepContext } from './options.ts'
import { serializeResponse, type StoredResponse } from './stored-response.ts'

/** Options of a mount. Times are in ms. */
export interface EngineOptions extends RecordTerms {
  /** Name in events. */
  name: string
  /** Time after which the lease of a running request is not renewed any more. */
  maxLease: number
}

/** What attempts need of their engine. */
export interface AttemptContext {
  readonly context: ExtensionContext
  readonly options: EngineOptions
  readonly timers: SharedTimers
  readonly complete: Operation<number>
  /** How long attempts take until their response is stored. */
  readonly runTimes: HoldTimes
  /** Notes that an attempt runs. Returns the function that notes its end. */
  track(): () => void
  emit(type: IdempotencyEvent['type'], claim: Claim, attempt: number | undefined): void
}

/** A request that asks for its key. */
export interface Claim {
  tag: string
  key: string
  owner: string
  /** Fingerprint and owner. */
  text: string
  /** Time of the last question, by `store.monotonic()`. */
  since: number
  /** Time of the first question. */
  began: number
  /** What the request may wait for Redis. */
  readonly budget: RequestBudget
}

/** What the store granted. */
export interface Grant {
  /** Fencing token. */
  token: number
  /** Number of the attempt, from 1. */
  attempt: number
  /** Results of the steps of earlier attempts, by name. */
  steps?: ReadonlyMap<string, Buffer> | undefined
}

export class Attempt {
  readonly token: number
  readonly attempt: number
  readonly #engine: AttemptContext
  readonly #claim: Claim
  readonly lease: Lease
  readonly #savedSteps: ReadonlyMap<string, Buffer> | undefined
  /** Steps of this attempt. */
  #steps: Map<string, Promise<unknown>> | undefined
  #ending: Promise<void> | undefined
  /** Only the status is stored. The handler may still bring the body. */
  #isPartial = false
  readonly #onEnd: () => void

  constructor(engine: AttemptContext, claim: Claim, { token, attempt, steps }: Grant) {
    const { lease, maxLease, ttl } = engine.options
    this.#engine = engine
    this.#claim = claim
    this.#savedSteps = steps
    this.token = token
    this.attempt = attempt
    this.#onEnd = engine.track()
    this.lease = new Lease({
      timers: engine.timers,
      since: claim.since,
      lease,
      maxLease,
      renew: async () => {
        const { store } = engine.context
        return (await store.run(renewKey, [claim.key], [claim.text, lease, ttl])) === 1
      },
      onLost: () => {
        this.#onEnd()
        return lostError()
      },
    })
  }

  /** The same for all attempts at this request, and for no other request. */
  get id(): string {
    return digestOf(this.#claim.key)
  }

  /** True if an earlier attempt began and did not complete. */
  get recovered(): boolean {
    return this.attempt > 1
  }

  /** Fires when the lease is lost. Its reason is the error TP_IDEMPOTENCY_LOST. */
  get signal(): AbortSignal {
    return this.lease.signal
  }

  /** See `Idempotency.step`. */
  step<Result>(
    name: string,
    work: (context: StepContext) => Promise<Result> | Result,
  ): Promise<Result> {
    const steps = (this.#steps ??= new Map())
    const known = steps.get(name) as Promise<Result> | undefined
    if (known) return known
    const running = this.#runStep(name, work)
    steps.set(name, running)
    // A step that failed may be tried again.
    running.catch(() => steps.delete(name))
    return running
  }

  /** True if the response was stored or the key released. */
  get hasEnded(): boolean {
    return this.#ending !== undefined
  }

  /**
   * Stores the response. It may be called again with the body after it was called without.
   * @throws TP_IDEMPOTENCY_LOST if another attempt has taken over
   */
  complete(response: StoredResponse): Promise<void> {
    const earlier = this.#ending
    if (earlier !== undefined && !this.#isPartial) return earlier
    const { context, runTimes } = this.#engine
    if (earlier === undefined) runTimes.add(context.store.monotonic() - this.#claim.since)
    this.#isPartial = response.body === undefined
    const store = (): Promise<void> => this.#complete(response)
    return (this.#ending = earlier === undefined ? store() : earlier.then(store))
  }

  /** Releases the key: the request failed. */
  release(): Promise<void> {
    return (this.#ending ??= this.#release(false))
  }

  /** Releases the key of a request that did not reach its handler. */
  discard(): Promise<void> {
    return (this.#ending ??= this.#release(this.recovered))
  }

  /** Releases the key, and fires the handler's signal with this reason: the request is not whole. */
  abandon(reason: TurnpikeError): Promise<void> {
    if (!this.hasEnded) this.lease.revoke(reason)
    return this.release()
  }

  async #runStep<Result>(
    name: string,
    work: (context: StepContext) => Promise<Result> | Result,
  ): Promise<Result> {
    const { store } = this.#engine.context
    const { token, attempt } = this
    const { key, text } = this.#claim
    const saved = this.#savedSteps?.get(name)
    if (saved) return (saved.length === 0 ? undefined : parseStoredJson(saved.toString())) as Result
    if (this.lease.isLost) throw this.#lost()
    const result = await this.#doStep(() =>
      work({ key: digestOf(`${key} ${name}`), token, attempt }),
    )
    const value = JSON.stringify(result) ?? ''
    const write = (): Promise<number> => store.run(saveStep, [key], [text, name, value])
    try {
      if ((await write()) === 0) throw this.#lost()
    } catch (error) {
      if (!isUnavailable(error)) throw error
      // The effect has happened. Continue, and save the result as soon as Redis answers.
      void this.#retry(write)
    }
    return result
  }

  /** Does the work of a step. If the lease was lost meanwhile, that is what the caller learns. */
  async #doStep<Result>(work: () => Promise<Result> | Result): Promise<Result> {
    let result: Result
    try {
      result = await work()
    } catch (error) {
      throw this.lease.isLost ? lossWithCause(this.#lost(), error) : error
    }
    if (this.lease.isLost) throw this.#lost()
    return result
  }

  #complete(response: StoredResponse): Promise<void> {
    const { complete, context } = this.#engine
    const { key, text, budget } = this.#claim
    const args = [text, serializeResponse(response)]
    const write = (budget?: RequestBudget): Promise<number> =>
      context.store.run(complete, [key], args, budget)
    const wasLost = this.lease.isLost
    this.lease.end()
    return write(budget).then(
      (written) => {
        this.#onEnd()
        if (written !== 1) throw this.#lost()
        this.#emit('stored')
      },
      (error: unknown) => {
        if (!isUnavailable(error) || wasLost) {
          this.#onEnd()
          // After a loss, another attempt may have begun, and Redis cannot say.
          throw wasLost ? this.#lost() : error
        }
        this.#emit('pending')
        void this.#retry(write).then((written) => {
          this.#onEnd()
          if (written === undefined) this.#emit('unstored')
          else this.#emit(written === 1 ? 'stored' : 'lost')
        })
      },
    )
  }

  /** @param isUnfinished keeps the record: the next attempt must know of this one */
  async #release(isUnfinished: boolean): Promise<void> {
    const { store } = this.#engine.context
    const { key, text, budget } = this.#claim
    const args = isUnfinished ? [text, '1'] : [text]
    const write = (budget?: RequestBudget): Promise<number> =>
      store.run(releaseKey, [key], args, budget)
    this.lease.end()
    try {
      await write(budget)
    } catch (error) {
      if (!isUnavailable(error)) throw error
      void this.#retry(write)
    } finally {
      this.#onEnd()
    }
    this.#emit('released')
  }

  /** Repeats a write in the background until the lease is over. */
  #retry(write: () => Promise<number>): Promise<number | undefined> {
    const { context, options } = this.#engine
    const { store, events } = context
    const until = store.monotonic() + Math.max(0, this.lease.left)
    return retryWrite(() => write(), {
      store,
      events,
      feature: 'idempotency',
      name: options.name,
      until,
    })
  }

  #lost(): TurnpikeError {
    this.#emit('lost')
    return this.lease.loss ?? lostError()
  }

  #emit(type: IdempotencyEvent['type']): void {
    this.#engine.emit(type, this.#claim, this.attempt)
  }
}

function lostError(): TurnpikeError {
  return new TurnpikeError(
    'TP_IDEMPOTENCY_LOST',
    'Another attempt has taken over this request. Repeat it with the same key for its response.',
    { status: 409 },
  )
}
