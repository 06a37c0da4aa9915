// What a test puts in the place of the global one shall not hold commands back.
import { setImmediate } from 'node:timers'

interface Corkable {
  cork(): void
  uncork(): void
}

/** The commands of so many requests are held back: Redis shall not idle while we work, nor we while it does. */
const MOST = 8

/**
 * Joins the commands of requests that came together into one write: a write is a system call, and
 * costs more than all else that is done to send a command.
 */
export class Cork {
  #stream: Corkable | undefined
  #held = 0
  #asker: object | undefined
  #isDue = false

  /**
   * Hold what follows back until everything that is there to be read has been, or there is enough of it.
   * @param asker the same for all commands of a request
   */
  put(stream: Corkable | undefined, asker: object | undefined): void {
    if (!stream) return
    const isAnother = asker === undefined || asker !== this.#asker
    if ((isAnother && this.#held >= MOST) || (this.#stream && this.#stream !== stream)) this.#pull()
    if (isAnother) this.#held++
    this.#asker = asker
    if (this.#stream) return
    this.#stream = stream
    stream.cork()
    if (this.#isDue) return
    this.#isDue = true
    setImmediate(this.#end)
  }

  readonly #end = (): void => {
    this.#isDue = false
    this.#pull()
  }

  #pull(): void {
    this.#stream?.uncork()
    this.#stream = undefined
    this.#held = 0
  }
}
