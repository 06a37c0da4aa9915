/** One attempt at a request. */
import { isUnavailable, TurnpikeError } from '../../errors.ts'
import { Lease, persist, type Persistence } from '../lease.ts'
import { complete } from './complete.ts'
import type { Answer, Claim, IdempotencyEngine } from './engine.ts'
import type { StepContext } from './options.ts'
import { digestOf } from './fingerprint.ts'
import { release } from './release.ts'
import { remember } from './remember.ts'
import { renew } from './renew.ts'

interface Claimed extends Claim {
  token: number
  attempt: number
  steps: Map<string, Buffer>
}

export class Run {
  readonly token: number
  readonly attempt: number
  readonly lease: Lease
  readonly #engine: IdempotencyEngine
  readonly #claim: Claimed
  readonly #steps = new Map<string, Promise<unknown>>()
  #ending: Promise<void> | undefined

  constructor(engine: IdempotencyEngine, claim: Claimed) {
    const { store } = engine.ground
    const { lease, ttl, longest } = engine.options
    const { key, owner, since, token, attempt } = claim
    this.#engine = engine
    this.#claim = claim
    this.token = token
    this.attempt = attempt
    this.lease = new Lease({
      store,
      since,
      ttl: lease,
      longest,
      renew: async () => (await store.run(renew, [key], [owner, lease, ttl])) === 1,
      // Whoever completes it learns the rest.
      lost: () => {},
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
    const known = this.#steps.get(name) as Promise<Result> | undefined
    if (known) return known
    const doing = this.#step(name, work)
    this.#steps.set(name, doing)
    // What has failed may be tried again.
    doing.catch(() => this.#steps.delete(name))
    return doing
  }

  /** Store the answer; `body` undefined: it was too long. @throws TP_IDEMPOTENCY_LOST when another attempt has taken over */
  complete(status: number, headers: Answer['headers'], body: Buffer | undefined): Promise<void> {
    return (this.#ending ??= this.#complete(status, headers, body))
  }

  /** Let the key be used again: the request has failed. */
  release(): Promise<void> {
    return (this.#ending ??= this.#release())
  }

  async #step<Result>(
    name: string,
    work: (context: StepContext) => Promise<Result> | Result,
  ): Promise<Result> {
    const { store } = this.#engine.ground
    const { key, owner, token, attempt, steps } = this.#claim
    const known = steps.get(name)
    if (known) return (known.length === 0 ? undefined : JSON.parse(known.toString())) as Result
    if (this.lease.isLost) throw this.#lost()
    const result = await work({ key: digestOf(`${key} ${name}`), token, attempt })
    const value = JSON.stringify(result) ?? ''
    const write = (): Promise<number> => store.run(remember, [key], [owner, name, value])
    try {
      if ((await write()) === 0) throw this.#lost()
    } catch (error) {
      if (!isUnavailable(error)) throw error
      // The effect has happened: go on, and write it down as soon as that is possible.
      void persist(write, this.#persistence())
    }
    return result
  }

  async #complete(
    status: number,
    headers: Answer['headers'],
    body: Buffer | undefined,
  ): Promise<void> {
    const { ground, options } = this.#engine
    const { key, channel, owner, fingerprint, token, attempt } = this.#claim
    const answer = [body ? 'c' : 'm', status, JSON.stringify(headers), body ?? '']
    const args = [owner, fingerprint, token, attempt, options.ttl, ...answer, channel]
    const write = (): Promise<number> => ground.store.run(complete, [key], args)
    const persistence = this.#persistence()
    const wasLost = this.lease.isLost
    this.lease.end()
    try {
      return this.#judge(await write())
    } catch (error) {
      if (!isUnavailable(error)) throw error
      // Nobody can say whether another attempt has begun.
      if (wasLost) throw this.#lost()
    }
    this.#tell('pending')
    void persist(write, persistence).then((written) => {
      if (written === undefined) this.#tell('unstored')
      else this.#tell(written === 1 ? 'stored' : 'lost')
    })
  }

  #judge(written: number): void {
    if (written !== 1) throw this.#lost()
    this.#tell('stored')
  }

  async #release(): Promise<void> {
    const { store } = this.#engine.ground
    const { key, owner, channel } = this.#claim
    const write = (): Promise<number> => store.run(release, [key], [owner, channel])
    const persistence = this.#persistence()
    this.lease.end()
    try {
      await write()
    } catch (error) {
      if (!isUnavailable(error)) throw error
      void persist(write, persistence)
    }
    this.#tell('released')
  }

  #persistence(): Persistence {
    const { store, events } = this.#engine.ground
    const { name } = this.#engine.options
    return {
      store,
      events,
      feature: 'idempotency',
      name,
      until: store.steady() + Math.max(0, this.lease.left),
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
