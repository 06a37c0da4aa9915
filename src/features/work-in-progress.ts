/** Work that close() waits for. */
export class WorkInProgress {
  #count = 0
  #onIdle: (() => void) | undefined

  /** Notes that work has begun. Returns the function that notes its end. */
  begin(): () => void {
    this.#count++
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      if (--this.#count === 0) this.#onIdle?.()
    }
  }

  /** Resolves when no work is in progress, or when the signal fires. */
  async finished(signal: AbortSignal): Promise<void> {
    if (this.#count === 0 || signal.aborted) return
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
  }
}
