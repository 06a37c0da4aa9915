/** Options and results of `channels()`. */
import type { Duration } from '../../../duration.ts'
import type { ExtensionContext } from '../../../extension.ts'

/** Where channels keep their topics. A registry symbol, because both copies of the package may use them. */
export const TOPICS: unique symbol = Symbol.for('turnpike.topics@1') as never

/** Options of `channels()`. */
export interface ChannelsOptions {
  /**
   * What is kept of each topic, so that a subscriber can continue where it was. `false`: nothing.
   * What is published while a subscriber is not connected is lost then, and it is notified.
   * @default { max: 1000, ttl: '1h' }
   */
  history?: HistoryOptions | false
  /** Most subscriptions of this process at a time. Further ones are refused. @default 10_000 */
  maxSubscriptions?: number
}

/** What is kept of a topic. */
export interface HistoryOptions {
  /** Most messages of a topic. The oldest one makes room. @default 1000 */
  max?: number
  /** How long messages are kept after the last one of their topic. @default '1h' */
  ttl?: Duration
}

/** Options of a call. */
export interface ChannelCallOptions {
  /** Tenant of the topic. Required if the application has tenants. */
  tenant?: string
}

/** Options of `subscribe()`. */
export interface SubscribeOptions extends ChannelCallOptions {
  /** Ends the subscription. @default none */
  signal?: AbortSignal
  /** ID of the last message that is known. The messages after it come first. @default only new messages */
  after?: string | undefined
  /**
   * Most messages that wait for the loop. The oldest one makes room for the next, and a gap takes
   * its place. @default 1000
   */
  highWater?: number
}

/** A message, or the notice that messages are missing. */
export type ChannelMessage<Data = unknown> =
  | {
      /** Topic of the message. */
      readonly topic: string
      /** ID of the message. Pass it as `after` to continue behind it. '' without a history. */
      readonly id: string
      /** What was published. */
      readonly data: Data
      /** False: this is a message. */
      readonly gap: false
    }
  | {
      /** Topic in which messages are missing. */
      readonly topic: string
      /** Position behind the missing messages. Pass it as `after` to continue there. */
      readonly id: string
      /** Undefined: this is no message. */
      readonly data: undefined
      /**
       * Messages are missing: they were older than the history, Redis has lost them, or the loop was
       * too slow. Read the state again that they would have changed.
       */
      readonly gap: true
    }

/** A subscription: an async iterator of messages, in the order in which they were published. */
export interface Subscription<Data> extends AsyncIterableIterator<ChannelMessage<Data>> {
  /** Resolves once every message that is published from then on will come. Never rejects. */
  readonly ready: Promise<void>
  /** Ends the subscription. The loop ends, and messages that it has not seen are dropped. */
  return(): Promise<IteratorReturnResult<undefined>>
}

/**
 * Channels of an instance. See `channels()`.
 * @template Native what callbacks get of a request: Express's and node's `req`, Koa's `ctx`
 * @template Middleware of the instance's framework
 */
export interface Channels<Native = any, Middleware = any> {
  /** The topics, for `sse()` and others. */
  readonly [TOPICS]: { readonly context: ExtensionContext<Native, Middleware> }
  /**
   * Publishes a message to all subscribers of a topic, in all processes. Costs one round trip.
   *
   * @param topic names the topic: a string of 1 to 256 characters
   * @param data a value that JSON can hold in 16 KiB
   * @returns the ID of the message; '' without a history
   * @throws TP_KEY, TP_VALUE; TP_UNAVAILABLE within `commandTimeout` while Redis is away
   */
  publish(topic: string, data: unknown, options?: ChannelCallOptions): Promise<string>
  /**
   * Subscribes to a topic. It begins with the call. It ends with `signal`, with the loop, by
   * `return()`, or with `tp.close()`.
   *
   * Each message comes once and in order. Where messages are missing, `{ gap: true }` takes their
   * place. While Redis is away nothing comes. What was published meanwhile follows from the history.
   * @template Data of the messages. It is not checked.
   * @throws TP_KEY, TP_OPTION; TP_LIMITED beyond `maxSubscriptions`
   * @example
   * for await (const { data, gap } of live.subscribe<Change>(`campaign:${id}`, { signal }))
   *   if (gap) await reload()
   *   else apply(data)
   */
  subscribe<Data = any>(topic: string, options?: SubscribeOptions): Subscription<Data>
}
