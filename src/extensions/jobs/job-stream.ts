/** Progress of a job as server-sent events (HTML, section 9.2). */
import { Readable } from 'node:stream'
import { isUnavailable } from '../../errors.ts'

/** A stream sends a comment so often, in ms: a proxy must not take it for idle, and a lost message is caught up. */
const HEARTBEAT = 15_000
/** How long a client waits before it connects again, in ms. */
const RECONNECT = 2000

/** ID of the last event. A client that connects again with it is told to stop (204). */
export const LAST_EVENT_ID = 'end'

/** What a stream shows. */
export interface JobStreamOptions {
  /** Returns what a client may see of the job, and whether it has finished. Undefined if it is gone. */
  read(): Promise<{ view: unknown; isFinished: boolean } | undefined>
  /** Calls `onChange` when the job may have changed. Returns the function that ends it. */
  watch(onChange: () => void): () => void
  /** Called once when the stream is over. */
  onEnd(): void
}

/**
 * A body that shows a job's state at once and after each change. A slow client skips states: each
 * event is complete.
 */
export class JobStream extends Readable {
  readonly #options: JobStreamOptions
  readonly #unwatch: () => void
  readonly #heartbeat: NodeJS.Timeout
  #last = ''
  #isChanged = true
  #isReading = false
  #isWanted = false
  #isOver = false

  constructor(options: JobStreamOptions) {
    super({ highWaterMark: 16_384 })
    this.#options = options
    // Subscribe before the first read. Otherwise a change between them would be missed.
    this.#unwatch = options.watch(() => this.#change())
    this.#heartbeat = setInterval(() => {
      if (this.#isWanted) this.#send(':\n\n')
      this.#change()
    }, HEARTBEAT).unref()
    this.#send(`retry: ${RECONNECT}\n\n`)
  }

  /** Ends the stream. The client connects again. */
  stop(): void {
    if (!this.#isOver) this.#finish()
  }

  override _read(): void {
    this.#isWanted = true
    void this.#update()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#release()
    callback(error)
  }

  #change(): void {
    this.#isChanged = true
    void this.#update()
  }

  async #update(): Promise<void> {
    if (this.#isReading || this.#isOver) return
    this.#isReading = true
    try {
      while (this.#isChanged && this.#isWanted && !this.#hasEnded()) {
        this.#isChanged = false
        this.#show(await this.#options.read())
      }
    } catch (error) {
      // The state is asked for again with the next change or heartbeat.
      if (!isUnavailable(error)) this.destroy(error as Error)
    } finally {
      this.#isReading = false
    }
  }

  #hasEnded(): boolean {
    return this.#isOver || this.destroyed
  }

  #show(found: { view: unknown; isFinished: boolean } | undefined): void {
    if (this.#hasEnded()) return
    if (found === undefined) {
      this.#send(`id: ${LAST_EVENT_ID}\nevent: end\ndata: null\n\n`)
      return this.#finish()
    }
    const data = JSON.stringify(found.view)
    if (found.isFinished) {
      this.#send(`id: ${LAST_EVENT_ID}\nevent: end\ndata: ${data}\n\n`)
      return this.#finish()
    }
    if (data !== this.#last) this.#send(`event: job\ndata: ${data}\n\n`)
    this.#last = data
  }

  #send(text: string): void {
    if (!this.#hasEnded()) this.#isWanted = this.push(text)
  }

  #finish(): void {
    this.push(null)
    this.#isOver = true
    this.#release()
  }

  #release(): void {
    this.#isOver = true
    clearInterval(this.#heartbeat)
    this.#unwatch()
    this.#options.onEnd()
  }
}
