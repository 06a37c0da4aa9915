/** A listener that joins a feed, perhaps after a position of long ago. */
import type { Store } from '../../../store/store.ts'
import type { Feed, FeedListener } from './feed.ts'
import { isFull, isGap, positionAfter, type HistoryPage } from './history.ts'
import { compareIds, type Message } from './message.ts'

/** What a follower calls. It must not throw. */
export interface FollowerEvents extends FeedListener {
  /** It has joined. All messages after this position will come, or a gap. */
  onJoin(position: string): void
  /** Resolves when a part of the history can be taken. Undefined: at once. */
  drained?(): Promise<void> | undefined
}

/** Messages that are kept while older ones are read. */
const MAX_HELD = 1000
/** Bytes of the history that are delivered before its reader is asked whether it can take more. */
const PART_BYTES = 32_768

/** Delivers the messages of a feed after a position: first those of the history, then those that come. */
export class Follower implements FeedListener {
  readonly #feed: Feed
  readonly #store: Store
  readonly #events: FollowerEvents
  #position: string
  /** Messages that arrive while older ones are read. Undefined: none are. */
  #held: Message[] | undefined = []
  #isStale = false
  #isClosed = false

  /** @param after position to continue from; undefined: from now on */
  constructor(feed: Feed, store: Store, events: FollowerEvents, after: string | undefined) {
    this.#feed = feed
    this.#store = store
    this.#events = events
    this.#position = after ?? ''
    void this.#join()
  }

  onMessage(message: Message): void {
    if (this.#held === undefined) {
      this.#deliver(message)
      return
    }
    if (this.#held.length >= MAX_HELD) {
      this.#held.shift()
      this.#isStale = true
    }
    this.#held.push(message)
  }

  onGap(position: string): void {
    // While older messages are read, the history tells of the gap.
    if (this.#held !== undefined) this.#isStale = true
    else this.#tellGap(position)
  }

  onEnd(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#events.onEnd()
  }

  close(): void {
    this.#isClosed = true
    this.#feed.remove(this)
  }

  async #join(): Promise<void> {
    let start: string | undefined
    do {
      await this.#feed.live()
      if (this.#isClosed) return
      if (this.#feed.isClosed) return this.onEnd()
      // The feed may have moved on since it was live.
      start = this.#feed.position
    } while (start === undefined)
    this.#feed.add(this)
    const isFresh = this.#position === '' || this.#feed.settings.ttl === 0
    if (isFresh) this.#position = start
    this.#events.onJoin(this.#position)
    this.#isStale = this.#position !== start
    while (this.#isStale && !this.#isClosed) {
      this.#isStale = false
      this.#held = []
      const page = await this.#feed.read(this.#position, PART_BYTES)
      if (page === undefined) return this.onEnd()
      await this.#events.drained?.()
      if (this.#isClosed) return
      this.#apply(page)
      if (isFull(page) || lengthOf(this.#held) > PART_BYTES) this.#isStale = true
    }
    const held = this.#held ?? []
    this.#held = undefined
    for (const message of held) this.#deliver(message)
  }

  #apply(page: HistoryPage): void {
    const { ttl } = this.#feed.settings
    const now = this.#store.now()
    const before = this.#position
    this.#position = positionAfter(page)
    if (isGap(page, before, { ttl, isContinuous: false, now }))
      this.#events.onGap(page.messages[0]?.previous ?? this.#position)
    for (const message of page.messages) this.#events.onMessage(message)
  }

  #deliver(message: Message): void {
    // Without a history a message has no ID.
    if (message.id !== '' && compareIds(message.id, this.#position) <= 0) return
    this.#position = message.id
    this.#events.onMessage(message)
  }

  #tellGap(position: string): void {
    this.#position = position
    this.#events.onGap(position)
  }
}

const lengthOf = (messages: readonly Message[]): number =>
  messages.reduce((sum, { json }) => sum + json.length, 0)
