const BEAT = 4

/**
 * Watches for how long this process is kept from running: on a machine that others load, that is not
 * the time that anything here took.
 */
export class Starvation {
  #lost = 0
  #last = performance.now()
  readonly #timer = setInterval(() => {
    this.#lost = this.lost
    this.#last = performance.now()
  }, BEAT).unref()

  /** Milliseconds lost so far. */
  get lost(): number {
    return this.#lost + Math.max(0, performance.now() - this.#last - 2 * BEAT)
  }

  end(): void {
    clearInterval(this.#timer)
  }
}

/** Gives a function that ends the watch, for the ms lost meanwhile. */
export function watchStarvation(): () => number {
  const watch = new Starvation()
  return () => {
    watch.end()
    return watch.lost
  }
}
