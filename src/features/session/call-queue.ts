/** The calls of a session's methods in one request: they run one after the other, in their order. */
import { ObservedPromise } from './observed-promise.ts'

export class CallQueue {
  #last: Promise<unknown> | undefined
  #refusal: Error | undefined
  readonly #failures: { error: unknown; observed: ObservedPromise<void> }[] = []

  /** Resolves when all calls are done. Undefined if there was none. */
  get done(): Promise<unknown> | undefined {
    return this.#last
  }

  /** The first error that nothing waited for. */
  get unhandled(): { error: unknown } | undefined {
    return this.#failures.find(({ observed }) => !observed.isObserved)
  }

  /** Rejects all calls from now on. */
  refuse(error: Error): void {
    this.#refusal = error
  }

  run(work: () => Promise<void>): Promise<void> {
    if (this.#refusal) return Promise.reject(this.#refusal)
    const done = this.#last === undefined ? work() : this.#last.then(work)
    this.#last = done.catch(() => {})
    return done
  }

  /** Returns a call as a promise. If nothing waits for it, its error is `unhandled`. */
  observe(
    call: Promise<void>,
    observed: ObservedPromise<void> = ObservedPromise.of(call),
  ): Promise<void> {
    call.catch((error: unknown) => this.#failures.push({ error, observed }))
    return observed
  }
}
