/** The topics of an instance: keys, what is published, and the feeds that this process follows. */
import { randomInt } from 'node:crypto'
import { TurnpikeError } from '../../../errors.ts'
import type { ExtensionContext } from '../../../extension.ts'
import type { OperationArgument } from '../../../store/store.ts'
import { requireTenant } from '../../../store/subject.ts'
import { Feed, type FeedSettings } from './feed.ts'
import { Follower, type FollowerEvents } from './follower.ts'
import { announceMessage, publishMessage } from './operations.ts'

const MAX_TOPIC_LENGTH = 256
const MAX_DATA_BYTES = 16_384
/** Leaves room for thousands of messages in one millisecond below `FIRST_RUN`. */
const MAX_FIRST_SEQUENCE = 4096

/** How topics are kept. */
export interface TopicSettings {
  /** Most messages of a history. 0: there is none. */
  readonly max: number
  /** Time that a history is kept after its last message, in ms. */
  readonly ttl: number
  readonly maxSubscriptions: number
}

/** Returns true for a string that can name a topic. */
export const isTopic = (topic: unknown): topic is string =>
  typeof topic === 'string' &&
  topic !== '' &&
  topic.length <= MAX_TOPIC_LENGTH &&
  topic.isWellFormed()

/** Returns data as JSON. @throws TP_VALUE for what JSON cannot hold in 16 KiB */
export function encodeData(data: unknown, where: string): string {
  let json: string | undefined
  let cause: unknown
  try {
    json = JSON.stringify(data) as string | undefined
  } catch (error) {
    cause = error
  }
  if (json !== undefined && Buffer.byteLength(json) <= MAX_DATA_BYTES) return json
  throw new TurnpikeError(
    'TP_VALUE',
    `${where}: the data must be a value that JSON can hold in ${MAX_DATA_BYTES} bytes.`,
    { cause },
  )
}

export class Topics<Native = any, Middleware = any> {
  readonly context: ExtensionContext<Native, Middleware>
  readonly settings: TopicSettings
  /** By key. */
  readonly #feeds = new Map<string, Feed>()
  #subscriptions = 0

  constructor(context: ExtensionContext<Native, Middleware>, settings: TopicSettings) {
    this.context = context
    this.settings = settings
    context.onClose(() => Promise.resolve(this.close()))
  }

  /** Number of subscriptions of this process. */
  get size(): number {
    return this.#subscriptions
  }

  /** @throws TP_KEY for a topic that is no name, or without a tenant where there are some */
  feedSettings(topic: unknown, tenant: string | undefined, where: string): FeedSettings {
    if (!isTopic(topic))
      throw new TurnpikeError(
        'TP_KEY',
        `${where}: the topic must be a string of 1 to ${MAX_TOPIC_LENGTH} characters.`,
      )
    const { keys } = this.context
    const owner = requireTenant(this.context, tenant, where)
    const key = keys.key('topic', keys.tag(topic, owner))
    const { max, ttl } = this.settings
    return { topic, key, channel: key, ttl: max === 0 ? 0 : ttl }
  }

  /** Publishes JSON. @throws TP_UNAVAILABLE */
  async publish(feed: FeedSettings, json: string): Promise<string> {
    const { store } = this.context
    const { key, channel, ttl } = feed
    if (ttl > 0) return await store.run(publishMessage, [key], [json, ...this.appendArgs(feed)])
    await store.run(announceMessage, [key], [json, channel])
    return ''
  }

  /** Returns what scripts that publish need of a topic with a history: see `append.lua`. */
  appendArgs({ channel, ttl }: FeedSettings): OperationArgument[] {
    return [this.settings.max, ttl, channel, randomInt(MAX_FIRST_SEQUENCE)]
  }

  /**
   * Follows a topic. Returns the function that ends it.
   * @throws TP_LIMITED beyond `maxSubscriptions`
   */
  follow(settings: FeedSettings, events: FollowerEvents, after: string | undefined): () => void {
    const { closing, store } = this.context
    if (closing.aborted) {
      events.onEnd()
      return () => {}
    }
    const { maxSubscriptions } = this.settings
    if (this.#subscriptions >= maxSubscriptions)
      throw new TurnpikeError(
        'TP_LIMITED',
        `channels(): this process has ${maxSubscriptions} subscriptions already. Raise maxSubscriptions, or end some.`,
        { status: 503 },
      )
    this.#subscriptions++
    const feed = this.#feeds.get(settings.key) ?? new Feed(this.context, settings)
    this.#feeds.set(settings.key, feed)
    feed.users++
    const follower = new Follower(feed, store, events, after)
    let hasEnded = false
    return () => {
      if (hasEnded) return
      hasEnded = true
      this.#subscriptions--
      follower.close()
      if (--feed.users > 0 || this.#feeds.get(settings.key) !== feed) return
      this.#feeds.delete(settings.key)
      feed.close()
    }
  }

  /** Ends all subscriptions. */
  close(): void {
    for (const feed of this.#feeds.values()) feed.close()
    this.#feeds.clear()
  }
}
