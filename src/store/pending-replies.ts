/** The answers that a connection owes: of commands that were sent and not answered, given-up ones included. */
export class PendingReplies {
  #count = 0
  #since = 0
  #lastSent = 0

  /** A command goes out at `now`. */
  incur(now: number): void {
    this.#lastSent = now
    if (this.#count++ === 0) this.#since = now
  }

  /** An answer came. If others are still owed, then from now on. */
  settle(now: number): void {
    this.#since = --this.#count === 0 ? 0 : now
  }

  /** A command came to nothing, and that says nothing of the others. */
  writeOff(): void {
    if (--this.#count === 0) this.#since = 0
  }

  /** Is nothing heard for `ms` although an answer is owed? */
  isOverdue(now: number, ms: number): boolean {
    return this.#since !== 0 && now - this.#since >= ms
  }

  /** Is an answer still owed, `ms` after the last command? */
  isStranded(now: number, ms: number): boolean {
    return this.#count > 0 && now - this.#lastSent > ms
  }

  /** It is another connection's from now on. */
  forgive(now: number): void {
    if (this.#count > 0) this.#since = now
  }
}
