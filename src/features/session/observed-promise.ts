/** A promise that knows whether anything waits for its result. */
export class ObservedPromise<Value> extends Promise<Value> {
  #isObserved = false

  /** Derived promises are plain ones. */
  static override get [Symbol.species](): PromiseConstructor {
    return Promise
  }

  /** Wraps a promise. Its rejection never counts as unhandled in the process. */
  static of<Value>(work: Promise<Value>): ObservedPromise<Value> {
    const observed = new ObservedPromise<Value>((resolve, reject) => work.then(resolve, reject))
    void Promise.prototype.then.call(observed, undefined, () => {})
    return observed
  }

  get isObserved(): boolean {
    return this.#isObserved
  }

  // `await` calls this too, because this is not a plain promise.
  override then<Result = Value, Failure = never>(
    onResolved?: ((value: Value) => Result | PromiseLike<Result>) | null,
    onRejected?: ((reason: unknown) => Failure | PromiseLike<Failure>) | null,
  ): Promise<Result | Failure> {
    this.#isObserved = true
    return super.then(onResolved, onRejected)
  }
}
