import { classify } from './diagnose.ts'
import { isCluster, nodeName, type Client } from './redis.ts'

type Listener = (message: string) => void

interface Subscriber {
  readonly listener: Listener
  readonly onGap: (() => void) | undefined
}

export interface SubscriptionsOptions {
  /** Opens the connection. Called once there is something to subscribe to. */
  open(): Client
  /** Redis does not permit to subscribe. */
  onRefused(error: Error): void
  /** A listener threw at a message. */
  onListenerError(error: unknown, channel: string): void
}

/** Pause between two checks of the connection, in ms, and checks after which a server that does not reply is given up. */
const CHECK_INTERVAL = 2000
const MAX_UNANSWERED = 2

/** The channels that this process subscribes to, over one connection that is opened at first use. */
export class Subscriptions {
  readonly #options: SubscriptionsOptions
  readonly #channels = new Map<string, Set<Subscriber>>()
  /** Channels that Redis has confirmed on the present connection. */
  readonly #confirmed = new Set<string>()
  #client: Client | undefined
  /** Checks since the last one that was answered. */
  #unanswered = 0

  constructor(options: SubscriptionsOptions) {
    this.#options = options
  }

  get client(): Client | undefined {
    return this.#client
  }

  /**
   * Adds a listener. Returns the function that removes it.
   * @param onGap called when messages may have been missed: the connection was lost, or Redis has
   * only now confirmed the subscription
   */
  add(channel: string, listener: Listener, onGap?: () => void): () => void {
    const subscriber = { listener, onGap }
    const subscribers = this.#channels.get(channel) ?? new Set()
    this.#channels.set(channel, subscribers.add(subscriber))
    if (subscribers.size === 1 && this.#client?.status === 'ready')
      this.#subscribe(this.#client, [channel])
    // Redis confirms a channel once. A listener that comes later gets all messages from now on.
    else if (this.#confirmed.has(channel))
      queueMicrotask(() => {
        if (subscribers.has(subscriber)) onGap?.()
      })
    return () => {
      if (!subscribers.delete(subscriber) || subscribers.size > 0) return
      this.#channels.delete(channel)
      this.#confirmed.delete(channel)
      if (this.#client?.status === 'ready') this.#client.unsubscribe(channel).catch(() => {})
    }
  }

  /** Opens the connection if there are listeners and it is not open yet. */
  connect(): void {
    if (this.#client || this.#channels.size === 0) return
    const client = this.#options.open()
    this.#client = client
    client.on('ready', () => this.#subscribe(client, [...this.#channels.keys()]))
    client.on('close', () => {
      this.#confirmed.clear()
      this.#reportGap(this.#channels.keys())
    })
    // At a corrupt message ioredis would throw for listeners of 'message', where nothing can catch the error.
    client.on('messageBuffer', (channel?: Buffer, message?: Buffer) => {
      if (message) this.#deliver(String(channel), String(message))
    })
    if (client.status === 'ready') this.#subscribe(client, [...this.#channels.keys()])
    const timer = setInterval(() => this.#check(client), CHECK_INTERVAL).unref()
    client.on('end', () => clearInterval(timer))
  }

  /** Replaces a connection that is dead without a word: nothing else is sent over it. */
  #check(client: Client): void {
    const isDead = client.status === 'ready' && this.#unanswered >= MAX_UNANSWERED
    if (client.status !== 'ready' || isDead) this.#unanswered = 0
    if (isDead) client.disconnect(true)
    else if (client.status === 'ready') {
      this.#unanswered++
      const onReply = (): void => void (this.#unanswered = 0)
      client.ping().then(onReply, onReply)
    }
  }

  /** Moves the connection to another node if it leads to the one that was lost. */
  leave(node: string): void {
    const client = this.#client
    if (client && !isCluster(client) && nodeName(client) === node) client.disconnect(true)
  }

  #reportGap(channels: Iterable<string>): void {
    for (const channel of channels)
      for (const { onGap } of this.#channels.get(channel) ?? []) onGap?.()
  }

  #deliver(channel: string, message: string): void {
    for (const { listener } of this.#channels.get(channel) ?? []) {
      try {
        listener(message)
      } catch (error) {
        this.#options.onListenerError(error, channel)
      }
    }
  }

  /** Replaces a connection that cannot subscribe, so that the next one tries again. */
  #subscribe(client: Client, channels: string[]): void {
    if (channels.length === 0) return
    // Messages are missed until Redis has confirmed, not only until the connection is there.
    client.subscribe(...channels).then(
      () => {
        for (const channel of channels)
          if (this.#channels.has(channel)) this.#confirmed.add(channel)
        this.#reportGap(channels)
      },
      (error: Error) => {
        if (classify(error)) client.disconnect(true)
        else this.#options.onRefused(error)
      },
    )
  }
}
