/** One attempt at a request. */
import { isUnavailable, TurnpikeError } from '../../errors.ts'
import type { RequestBudget } from '../../request-budget.ts'
import { Lease, retryWrite, type RetryWriteOptions } from '../lease.ts'
import { packed, type Answer } from './answer.ts'
import type { Claim, IdempotencyEngine } from './engine.ts'
import type { StepContext } from './options.ts'
import { digestOf } from './fingerprint.ts'
import { release } from './release.ts'
import { remember } from './remember.ts'
import { renew } from './renew.ts'

export class Run {
  readonly token: number
  readonly attempt: number
  readonly lease: Lease
  readonly #engine: IdempotencyEngine
  readonly #claim: Claim
  /** What the steps of earlier attempts came to. */
  readonly #before: ReadonlyMap<string, Buffer> | undefined
  #steps: Map<string, Promise<unknown>> | undefined
  #ending: Promise<void> | undefined

  constructor(
    engine: IdempotencyEngine,
    claim: Claim,
    token: number,
    attempt: number,
    before: ReadonlyMap<string, Buffer> | undefined,
  ) {
    const { lease, maxLease } = engine.options
    this.#engine = engine
    this.#claim = claim
    this.#before = before
    this.token = token
    this.attempt = attempt
    this.lease = new Lease({
      alarms: engine.alarms,
      since: claim.since,
      ttl: lease,
      maxLease,
      renew: () => this.#renew(),
      // Whoever completes it learns the rest.
      lost: nothing,
    })
  }

  /** The same for all attempts at this request, and for no other. */
  get id(): string {
    return digestOf(this.#claim.key)
  }

  /** Did an earlier attempt begin and not end well? */
  get recovered(): boolean {
    return this.attempt > 1
  }

  /** See `Idempotency.step`. */
  step<Result>(
    name: string,
    work: (context: StepContext) => Promise<Result> | Result,
  ): Promise<Result> {
    const steps = (this.#steps ??= new Map())
    const known = steps.get(name) as Promise<Result> | undefined
    if (known) return known
    const doing = this.#step(name, work)
    steps.set(name, doing)
    // What has failed may be tried again.
    doing.catch(() => steps.delete(name))
    return doing
  }

  /** Store the answer. @throws TP_IDEMPOTENCY_LOST when another attempt has taken over */
  complete(answer: Answer): Promise<void> {
    return (this.#ending ??= this.#complete(answer))
  }

  /** Let the key be used again: the request has failed. */
  release(): Promise<void> {
    return (this.#ending ??= this.#release(false))
  }

  /** Let the key be used again: the request did not get as far as its handler. */
  discard(): Promise<void> {
    return (this.#ending ??= this.#release(this.recovered))
  }

  async #step<Result>(
    name: string,
    work: (context: StepContext) => Promise<Result> | Result,
  ): Promise<Result> {
    const { store } = this.#engine.context
    const { token, attempt } = this
    const { key, text } = this.#claim
    const known = this.#before?.get(name)
    if (known) return (known.length === 0 ? undefined : JSON.parse(known.toString())) as Result
    if (this.lease.isLost) throw this.#lost()
    const result = await work({ key: digestOf(`${key} ${name}`), token, attempt })
    const value = JSON.stringify(result) ?? ''
    const write = (): Promise<number> => store.run(remember, [key], [text, name, value])
    try {
      if ((await write()) === 0) throw this.#lost()
    } catch (error) {
      if (!isUnavailable(error)) throw error
      // The effect has happened: go on, and write it down as soon as that is possible.
      void retryWrite(write, this.#persistence())
    }
    return result
  }

  #complete(answer: Answer): Promise<void> {
    const { complete, context } = this.#engine
    const { store } = context
    const { key, text, budget } = this.#claim
    const args = [text, packed(answer)]
    const write = (within?: RequestBudget): Promise<number> =>
      store.run(complete, [key], args, within)
    const wasLost = this.lease.isLost
    this.lease.end()
    return write(budget).then(
      (written) => {
        if (written !== 1) throw this.#lost()
        this.#tell('stored')
      },
      (error: unknown) => {
        if (!isUnavailable(error)) throw error
        // Nobody can say whether another attempt has begun.
        if (wasLost) throw this.#lost()
        this.#tell('pending')
        void retryWrite(() => write(), this.#persistence()).then((written) => {
          if (written === undefined) this.#tell('unstored')
          else this.#tell(written === 1 ? 'stored' : 'lost')
        })
      },
    )
  }

  async #renew(): Promise<boolean> {
    const { context, options } = this.#engine
    const { key, text } = this.#claim
    return (await context.store.run(renew, [key], [text, options.lease, options.ttl])) === 1
  }

  async #release(isUnfinished: boolean): Promise<void> {
    const { store } = this.#engine.context
    const { key, text, budget } = this.#claim
    const args = isUnfinished ? [text, '1'] : [text]
    const write = (within?: RequestBudget): Promise<number> =>
      store.run(release, [key], args, within)
    this.lease.end()
    try {
      await write(budget)
    } catch (error) {
      if (!isUnavailable(error)) throw error
      void retryWrite(() => write(), this.#persistence())
    }
    this.#tell('released')
  }

  #persistence(): RetryWriteOptions {
    const { store, events } = this.#engine.context
    const { name } = this.#engine.options
    return {
      store,
      events,
      feature: 'idempotency',
      name,
      until: store.monotonic() + Math.max(0, this.lease.left),
    }
  }

  #lost(): TurnpikeError {
    this.#tell('lost')
    return new TurnpikeError(
      'TP_IDEMPOTENCY_LOST',
      'Another attempt has taken this request over. Repeat it with the same key for its answer.',
      { status: 409 },
    )
  }

  #tell(what: Parameters<IdempotencyEngine['tell']>[0]): void {
    this.#engine.tell(what, this.#claim.tag, this.attempt)
  }
}

function nothing(): void {}
