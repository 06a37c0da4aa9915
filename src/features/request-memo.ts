/** Remembers one value for each request, for example what a limit decided on it. */
export class RequestMemo<Value> {
  readonly #slot: symbol

  /** @param name names the value in a debugger */
  constructor(name: string) {
    this.#slot = Symbol(name)
  }

  /** @param x the request's exchange */
  get(x: object): Value | undefined {
    return (x as { [slot: symbol]: Value | undefined })[this.#slot]
  }

  // On the exchange itself: a WeakMap with an entry for each request costs the garbage collector far more.
  set(x: object, value: Value): Value {
    ;(x as { [slot: symbol]: Value })[this.#slot] = value
    return value
  }
}
