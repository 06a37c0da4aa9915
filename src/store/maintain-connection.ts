/** What a connection of our own needs besides its options. */
import type { EventBus } from '../events.ts'
import { dropWhenOutOfStep, eachConnection } from './protocol-desync.ts'
import { isCluster, isSecure, unref, unrefRetry, type Client } from './redis.ts'
import { remedyFor, watchHandshakes } from './diagnose.ts'

/** How long a server may take for its greeting, in ms: one that takes connections but answers nothing would hold one for ever. */
export const GREETING = 1000

/** How long after its end a connection that nobody ended is begun anew, in ms. */
const ANEW = 100

/**
 * Looks after a connection: its errors are told with their remedy, its idle socket holds up nobody.
 * @param warn tells an operator
 * @param isOver are no connections wanted any more?
 */
export function tend(
  client: Client,
  warn: (message: string) => void,
  isOver: () => boolean,
): Client {
  client.on('error', (error: Error) => report(error, warn))
  client.on('ready', () => unref(client))
  client.on('reconnecting', () => unrefRetry(client))
  // ioredis gives up for ever if Sentinel tells of a failover while it is about to connect.
  client.on('end', () =>
    setTimeout(() => {
      if (!isOver() && client.status === 'end') client.connect().catch(() => {})
    }, ANEW).unref(),
  )
  client.on('connect', () => {
    if (!isCluster(client)) dropWhenOutOfStep(client)
    setTimeout(() => client.status === 'connect' && client.disconnect(true), GREETING).unref()
  })
  if (isCluster(client))
    eachConnection(client, (node) => node.on('connect', () => dropWhenOutOfStep(node)))
  watchHandshakes(client, isSecure(client), warn)
  return client
}

/** Tell an operator what is wrong and how to mend it, where that is known. */
export function report(error: Error, warn: (message: string) => void): void {
  const known = remedyFor(error)
  if (known) warn(known)
}

/** Makes events of what guards report. @param store names the store in them */
export function reportsTo(
  events: EventBus,
  store: string,
): {
  onReplaced(): void
  onBreaker(state: 'open' | 'closed', reason: string | undefined, node?: string): void
} {
  return {
    onReplaced: () => events.emit('replaced', { store }),
    onBreaker: (state, reason, node) =>
      events.emit('breaker', { store, state, reason, ...(node !== undefined && { node }) }),
  }
}
