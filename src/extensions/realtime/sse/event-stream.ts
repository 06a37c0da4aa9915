/** One response of `text/event-stream`. */
import { Readable } from 'node:stream'
import type { EventBus } from '../../../events.ts'
import type { FeedSettings } from '../channels/feed.ts'
import type { Message } from '../channels/message.ts'
import type { Topics } from '../channels/topics.ts'
import type { EventFraming } from './frame.ts'
import { topicDigest, writePositions } from './positions.ts'

export interface EventStreamOptions {
  readonly topics: Topics
  readonly feeds: readonly FeedSettings[]
  /** Positions that the client knows, by digest of the topic. */
  readonly positions: ReadonlyMap<string, string>
  readonly framing: EventFraming
  readonly events: EventBus
  /** Time after which a client may connect again, in ms. */
  readonly retry: number
  /** Most bytes that wait for the client. */
  readonly maxBuffer: number
  /** Lines of the events that are sent first. @default none */
  readonly first?: string | undefined
  /** The stream is over. Called once. */
  onOver(): void
}

/** The bytes of a stream of events. Messages are pushed; what the client does not read in time is bounded. */
export class EventStream extends Readable {
  readonly openedAt: number = performance.now()
  readonly #options: EventStreamOptions
  readonly #positions = new Map<string, string>()
  readonly #leave: (() => void)[] = []
  /** True if something was sent since the last heartbeat. */
  #isBusy = false
  #isOpen = false
  #isOver = false
  /** Parts of histories follow each other, each when the client has taken the one before. */
  #turn: Promise<void> = Promise.resolve()
  #onDrained: (() => void) | undefined

  constructor(options: EventStreamOptions) {
    super({ highWaterMark: options.maxBuffer })
    this.#options = options
  }

  /** Sends what comes first, and follows the topics. @throws TP_LIMITED if the process has too many subscriptions */
  open(): void {
    this.#isOpen = true
    const { feeds, first = '', positions, retry, topics } = this.#options
    this.#write(`retry: ${retry}\n\n${first}`)
    for (const feed of feeds) {
      // The client may not read, and the instance may be closing.
      if (this.#isOver) return
      const digest = topicDigest(feed.topic)
      const after = positions.get(digest)
      // Until it has joined, the stream stands where the client stood.
      if (after !== undefined && feed.ttl > 0) this.#positions.set(digest, after)
      this.#leave.push(topics.follow(feed, this.#followerOf(feed, digest), after))
    }
  }

  override _read(): void {}

  override read(size?: number): any {
    const chunk: unknown = super.read(size)
    if (this.readableLength === 0) this.#onDrained?.()
    return chunk
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#finish()
    callback(error)
  }

  /**
   * Sends a comment, unless something was sent since the last time: proxies end idle connections. Until
   * the stream is open, `retry` must stay first.
   */
  beat(): void {
    if (this.#isOpen && !this.#isBusy) this.#write(':\n\n')
    this.#isBusy = false
  }

  /** Ends the response in order. The client connects again after `retry`. */
  end(retry: number = this.#options.retry): void {
    if (this.#isOver) return
    this.#write(`retry: ${retry}\n\n`)
    this.#finish()
    this.push(null)
  }

  #drained(): Promise<void> {
    const wait = async (): Promise<void> => {
      if (this.readableLength > 0 && !this.#isOver)
        await new Promise<void>((resolve) => (this.#onDrained = resolve))
    }
    return (this.#turn = this.#turn.then(wait))
  }

  #followerOf({ topic, ttl }: FeedSettings, digest: string) {
    const move = (position: string): void => {
      if (ttl > 0) this.#positions.set(digest, position)
    }
    return {
      onJoin: (position: string): void => {
        if (ttl === 0) return
        move(position)
        this.#write(`${this.#id()}\n`)
      },
      onMessage: (message: Message): void => {
        if (message.id !== '') move(message.id)
        const text = this.#frame(topic, message)
        if (text !== undefined) this.#write(`${this.#id()}${text}`)
        if (this.#options.framing.isLast?.(message)) this.end()
      },
      onGap: (position: string): void => {
        move(position)
        this.#write(`${this.#id()}${this.#options.framing.gap(topic)}`)
      },
      onEnd: (): void => this.end(),
      drained: () => this.#drained(),
    }
  }

  #frame(topic: string, message: Message): string | undefined {
    try {
      return this.#options.framing.of(topic, message)
    } catch (error) {
      this.#options.events.emit('error', { feature: 'sse', name: topic, error })
      return undefined
    }
  }

  #id(): string {
    return this.#positions.size === 0 ? '' : `id: ${writePositions(this.#positions)}\n`
  }

  #write(text: string): void {
    if (this.#isOver || text === '') return
    this.#isBusy = true
    this.push(text)
    // The client does not read. It connects again, and continues where it was.
    if (this.readableLength > this.#options.maxBuffer) this.destroy()
  }

  #finish(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#onDrained?.()
    for (const leave of this.#leave) leave()
    this.#options.onOver()
  }
}
