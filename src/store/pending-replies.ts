/**
 * Counts the commands of one connection to which Redis has not replied yet, including those whose
 * callers have timed out.
 */
export class PendingReplies {
  #count = 0
  /** Since when the next reply is due; 0 if none is. */
  #dueSince = 0
  #lastSentAt = 0

  /** Records that a command was sent. */
  sent(now: number): void {
    this.#lastSentAt = now
    if (this.#count++ === 0) this.#dueSince = now
  }

  /** Records a reply. Replies come in order: the next one is due from now on. */
  received(now: number): void {
    this.#dueSince = --this.#count === 0 ? 0 : now
  }

  /** Records that the client gave a command up. This says nothing about the other replies. */
  abandoned(): void {
    if (--this.#count === 0) this.#dueSince = 0
  }

  /** Returns true if a reply is due and nothing has arrived for `ms`. */
  isOverdue(now: number, ms: number): boolean {
    return this.#dueSince !== 0 && now - this.#dueSince >= ms
  }

  /** Returns true if a reply is still missing `ms` after the last command. */
  isStranded(now: number, ms: number): boolean {
    return this.#count > 0 && now - this.#lastSentAt > ms
  }

  /** Measures the wait for missing replies from `now` on: the connection works, or is a new one. */
  restart(now: number): void {
    if (this.#count > 0) this.#dueSince = now
  }
}
