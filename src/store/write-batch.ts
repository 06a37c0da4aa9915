// Fake timers of a test must not delay commands: the function is imported, not the global one used.
import { setImmediate } from 'node:timers'

interface CorkableStream {
  cork(): void
  uncork(): void
}

/** Requests whose commands are held back at most. More would let Redis idle while this process works. */
const MAX_HELD_REQUESTS = 8

/**
 * Joins the commands of concurrent requests into one write to the socket. A write is a system call
 * and costs more than everything else that is done to send a command.
 */
export class WriteBatch {
  #stream: CorkableStream | undefined
  #heldRequests = 0
  #lastRequest: object | undefined
  #isFlushScheduled = false

  /**
   * Holds back what is written to the stream next, until the event loop has handled all pending
   * input or enough requests are held.
   * @param request the same object for all commands of one request
   */
  hold(stream: CorkableStream | undefined, request: object | undefined): void {
    if (!stream) return
    const isNewRequest = request === undefined || request !== this.#lastRequest
    const isFull = isNewRequest && this.#heldRequests >= MAX_HELD_REQUESTS
    if (isFull || (this.#stream && this.#stream !== stream)) this.#flush()
    if (isNewRequest) this.#heldRequests++
    this.#lastRequest = request
    if (this.#stream) return
    this.#stream = stream
    stream.cork()
    if (this.#isFlushScheduled) return
    this.#isFlushScheduled = true
    setImmediate(this.#onImmediate)
  }

  readonly #onImmediate = (): void => {
    this.#isFlushScheduled = false
    this.#flush()
  }

  #flush(): void {
    this.#stream?.uncork()
    this.#stream = undefined
    this.#lastRequest = undefined
    this.#heldRequests = 0
  }
}
