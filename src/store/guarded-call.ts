/** What a connection guard works with. */

/** What the guard needs of a client. ioredis's Redis and Cluster both have it. */
export interface GuardedClient {
  readonly status: string
  on(event: 'ready', listener: () => void): unknown
  off(event: 'ready', listener: () => void): unknown
  disconnect(reconnect?: boolean): void
  readonly stream?: { readonly bytesRead: number } | undefined
}

/** One call through the guard. */
export interface GuardedCall<Reply> {
  /** Names the operation in errors. */
  readonly name: string
  /** Sends the command. @param deadline when its caller gives up, by `performance.now()` */
  send(deadline: number): Promise<Reply>
  /** Returns another attempt if one can succeed after the error that Redis replied, else undefined. */
  retry?(error: unknown, deadline: number): Promise<Reply> | undefined
}
