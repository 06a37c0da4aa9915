interface Corkable {
  cork(): void
  uncork(): void
}

/** Joins what is written to a stream within one tick into one write. */
export class Cork {
  #stream: Corkable | undefined

  /** Hold what follows back until the tick is over. */
  put(stream: Corkable | undefined): void {
    if (this.#stream || !stream) return
    this.#stream = stream
    stream.cork()
    process.nextTick(this.#pull)
  }

  readonly #pull = (): void => {
    this.#stream?.uncork()
    this.#stream = undefined
  }
}
