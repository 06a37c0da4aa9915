/** One topic as this process follows it: one subscription and one position for all its listeners. */
import { setMaxListeners } from 'node:events'
import { isUnavailable } from '../../../errors.ts'
import type { ExtensionContext } from '../../../extension.ts'
import {
  isFull,
  isGap,
  PAGE_BYTES,
  PAGE_LENGTH,
  parsePage,
  positionAfter,
  type HistoryPage,
} from './history.ts'
import { BEFORE_ALL, compareIds, parseMessage, type Message } from './message.ts'
import { readHistory } from './operations.ts'

/** What a feed calls. It must not throw. */
export interface FeedListener {
  /** The next message. */
  onMessage(message: Message): void
  /** Messages up to this position were missed and cannot be read. */
  onGap(position: string): void
  /** The feed is closed. */
  onEnd(): void
}

/** The keys of a topic, and how its history is kept. */
export interface FeedSettings {
  readonly topic: string
  readonly key: string
  readonly channel: string
  /** Time that the history is kept after its last message, in ms. 0: there is no history. */
  readonly ttl: number
}

/** Messages that are kept while the history is read. */
const MAX_HELD = 1000
/** Pauses between two attempts to read the history, in ms. */
const [FIRST_PAUSE, LONGEST_PAUSE] = [50, 1000]

/**
 * Follows one topic. Each message names its predecessor. One that does not follow the last known
 * message makes the feed read the history, so no message is missed and none is delivered twice.
 */
export class Feed {
  readonly settings: FeedSettings
  readonly #context: ExtensionContext
  readonly #listeners = new Set<FeedListener>()
  /** Number of followers that use it, also before they have joined. */
  users = 0
  readonly #unsubscribe: () => void
  readonly #closing = new AbortController()
  /** The last delivered message, or a position before the first. Undefined before the first read. */
  #position: string | undefined
  /** True while every message since `#position` must have arrived over the subscription. */
  #isContinuous = false
  /** Messages that arrive while the history is read. Undefined: it is not being read. */
  #held: Message[] | undefined
  /** Messages may have been missed: the history must be read. */
  #isStale = false
  #waiters: (() => void)[] = []

  constructor(context: ExtensionContext, settings: FeedSettings) {
    this.#context = context
    this.settings = settings
    const { store } = context
    // Each follower that waits to read listens to it.
    setMaxListeners(0, this.#closing.signal)
    this.#unsubscribe = store.subscribe(
      settings.channel,
      (text) => this.#receive(text),
      () => this.#interrupt(),
    )
    // The in-process engine does not confirm a subscription: it begins at once.
    if (store.kind === 'memory') this.#interrupt()
  }

  /** The position after all delivered messages. Undefined while others may be missing. */
  get position(): string | undefined {
    return this.#held === undefined && !this.#isStale ? this.#position : undefined
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted
  }

  add(listener: FeedListener): void {
    this.#listeners.add(listener)
  }

  remove(listener: FeedListener): void {
    this.#listeners.delete(listener)
  }

  /** Resolves once there is a position, or the feed is closed. */
  async live(): Promise<void> {
    while (this.position === undefined && !this.isClosed)
      await new Promise<void>((resolve) => this.#waiters.push(resolve))
  }

  /**
   * Reads the history after a position, until that succeeds. Undefined: the feed is closed.
   * @param bytes after which no further message is read
   */
  async read(after: string, bytes: number = PAGE_BYTES): Promise<HistoryPage | undefined> {
    const { store, events } = this.#context
    const { key, topic } = this.settings
    for (let pause = FIRST_PAUSE; !this.isClosed; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      try {
        return parsePage(await store.run(readHistory, [key], [after, PAGE_LENGTH, bytes]))
      } catch (error) {
        if (!isUnavailable(error)) events.emit('error', { feature: 'channels', name: topic, error })
        else if (error.reason === 'closed') break
      }
      await store.sleep(pause, this.#closing.signal, true).catch(() => {})
    }
    return undefined
  }

  /** Ends the subscription and all listeners. */
  close(): void {
    if (this.isClosed) return
    this.#closing.abort()
    this.#unsubscribe()
    this.#wake()
    for (const listener of this.#listeners) listener.onEnd()
    this.#listeners.clear()
  }

  #wake(): void {
    for (const resolve of this.#waiters.splice(0)) resolve()
  }

  /** The connection was lost, or Redis has only now confirmed the subscription. */
  #interrupt(): void {
    this.#isContinuous = false
    if (this.settings.ttl === 0) {
      // What was missed cannot be read. Nothing was if this is the first confirmation.
      if (this.#position === BEFORE_ALL) this.#tellGap(BEFORE_ALL)
      this.#position = BEFORE_ALL
      return this.#wake()
    }
    this.#isStale = true
    if (this.#held === undefined) void this.#catchUp()
  }

  #receive(text: string): void {
    const message = parseMessage(text)
    if (message === undefined || (message.id === '') !== (this.settings.ttl === 0)) return
    if (message.id === '') {
      this.#tell(message)
    } else if (this.#held !== undefined) {
      // One that is dropped here is read again, because the next one will not follow.
      if (this.#held.length >= MAX_HELD) this.#held.shift()
      this.#held.push(message)
    } else if (!this.#accept(message)) {
      this.#isStale = true
      void this.#catchUp()
    }
  }

  /**
   * Delivers a message that follows the last one. Returns false for any other. An older one was read
   * before it arrived, or belongs to a new history of a server whose clock is behind.
   */
  #accept(message: Message): boolean {
    const position = this.#position
    // Undefined: the subscription is not confirmed yet. What is published before is not promised.
    if (position === undefined) return true
    if (message.previous !== position || compareIds(message.id, position) <= 0) return false
    this.#position = message.id
    this.#tell(message)
    return true
  }

  /** Delivers what arrived while the history was read. Returns false if messages may be missing. */
  #release(held: readonly Message[]): boolean {
    return held.every(
      (message) => compareIds(message.id, this.#position!) <= 0 || this.#accept(message),
    )
  }

  async #catchUp(): Promise<void> {
    while (this.#isStale && !this.isClosed) {
      this.#isStale = false
      // What arrives before the read begins is read.
      this.#held = []
      const page = await this.read(this.#position ?? '')
      if (page === undefined) return this.close()
      this.#apply(page)
      if (isFull(page)) this.#isStale = true
      if (this.#isStale) continue
      this.#isContinuous = true
      if (!this.#release(this.#held)) this.#isStale = true
    }
    this.#held = undefined
    this.#wake()
  }

  #apply(page: HistoryPage): void {
    const before = this.#position
    this.#position = positionAfter(page)
    if (before === undefined) return
    const [ttl, isContinuous] = [this.settings.ttl, this.#isContinuous]
    if (isGap(page, before, { ttl, isContinuous, now: this.#context.store.now() }))
      this.#tellGap(page.messages[0]?.previous ?? this.#position)
    for (const message of page.messages) this.#tell(message)
  }

  #tell(message: Message): void {
    for (const listener of this.#listeners) listener.onMessage(message)
  }

  #tellGap(position: string): void {
    for (const listener of this.#listeners) listener.onGap(position)
  }
}
