import { isCluster, keyOf, type Client } from './redis.ts'
import { classify } from './diagnose.ts'

type Hear = (message: string) => void

/** The channels that are listened to, over one connection of their own that is made when it is first needed. */
export class Subscriptions {
  readonly #channels = new Map<string, Set<Hear>>()
  readonly #lost = new Set<() => void>()
  readonly #open: () => Client
  readonly #refused: (error: Error) => void
  #client: Client | undefined

  /**
   * @param open makes the connection, once there is something to listen to
   * @param refused is told that Redis will not let us listen
   */
  constructor(open: () => Client, refused: (error: Error) => void) {
    this.#open = open
    this.#refused = refused
  }

  get client(): Client | undefined {
    return this.#client
  }

  add(channel: string, hear: Hear, lost?: () => void): () => void {
    if (lost) this.#lost.add(lost)
    const listeners = this.#channels.get(channel) ?? new Set()
    this.#channels.set(channel, listeners.add(hear))
    if (listeners.size === 1 && this.#client?.status === 'ready')
      this.#subscribe(this.#client, [channel])
    return () => {
      if (lost) this.#lost.delete(lost)
      if (!listeners.delete(hear) || listeners.size > 0) return
      this.#channels.delete(channel)
      if (this.#client?.status === 'ready') this.#client.unsubscribe(channel).catch(() => {})
    }
  }

  /** Make the connection, if anybody listens and it is not there. */
  connect(): void {
    if (this.#client || this.#channels.size === 0) return
    const client = this.#open()
    this.#client = client
    client.on('ready', () => this.#subscribe(client, [...this.#channels.keys()]))
    client.on('close', () => {
      for (const lost of this.#lost) lost()
    })
    // 'message' would have ioredis throw, where nobody can catch it, at a message that arrived corrupted.
    client.on('messageBuffer', (channel?: Buffer, message?: Buffer) => {
      if (!message) return
      for (const hear of this.#channels.get(String(channel)) ?? []) hear(String(message))
    })
    if (client.status === 'ready') this.#subscribe(client, [...this.#channels.keys()])
  }

  /** A node of a Cluster is lost: if it is ours, go to another one. */
  leave(node: string): void {
    const client = this.#client
    if (client && !isCluster(client) && keyOf(client) === node) client.disconnect(true)
  }

  /** A connection that cannot subscribe is dropped, and the next one tries again; not where it is forbidden. */
  #subscribe(client: Client, channels: string[]): void {
    if (channels.length === 0) return
    client.subscribe(...channels).catch((error: Error) => {
      if (classify(error)) client.disconnect(true)
      else this.#refused(error)
    })
  }
}
