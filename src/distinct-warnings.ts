/** Distinct warnings of one instance. Messages can contain what a client sent, so they are bounded. */
const MAX_WARNINGS = 200

/** Lets each warning pass once. */
export class DistinctWarnings {
  readonly #passed = new Set<string>()

  /** Returns the text of a warning, undefined if it is not reported any more. */
  textOf(message: string): string | undefined {
    if (this.#passed.has(message) || this.#passed.size >= MAX_WARNINGS) return undefined
    this.#passed.add(message)
    const isLast = this.#passed.size === MAX_WARNINGS
    return isLast ? `${message} This is the last warning: there were too many.` : message
  }
}
