/** Keeps a connection of our own alive: what it needs besides its options. */
import type { EventBus } from '../events.ts'
import type { DurationHistogram } from '../feature-counts.ts'
import { detectTlsMismatch, remedyFor } from './diagnose.ts'
import {
  dropWhenOutOfStep,
  hideTracedData,
  onEachConnection,
  unrefReconnectTimer,
  unrefSocket,
} from './ioredis-patches.ts'
import { isCluster, usesTls, type Client } from './redis.ts'
import type { SlowCall } from './slow-calls.ts'

/**
 * How long a server may take from 'connect' to 'ready', in ms. ioredis would wait for ever for one
 * that accepts connections and does not reply.
 */
export const HANDSHAKE_TIMEOUT = 1000

/** Pause before a connection is opened again that ended without being closed, in ms. */
const REOPEN_AFTER = 100

/**
 * Maintains a connection until it is closed.
 * @param warn reports what an operator should fix
 * @param isClosed returns true if the connection is no longer needed
 */
export function maintainConnection(
  client: Client,
  warn: (message: string) => void,
  isClosed: () => boolean,
): Client {
  client.on('error', (error: Error) => warnOf(error, warn))
  client.on('ready', () => unrefSocket(client))
  client.on('reconnecting', () => unrefReconnectTimer(client))
  // ioredis ends for ever if Sentinel reports a failover while it is about to connect.
  client.on('end', () =>
    setTimeout(() => {
      if (!isClosed() && client.status === 'end') client.connect().catch(() => {})
    }, REOPEN_AFTER).unref(),
  )
  client.on('connect', () => {
    if (!isCluster(client)) dropWhenOutOfStep(client)
    setTimeout(
      () => client.status === 'connect' && client.disconnect(true),
      HANDSHAKE_TIMEOUT,
    ).unref()
  })
  if (isCluster(client)) {
    onEachConnection(client, (node) => {
      hideTracedData(node)
      node.on('connect', () => dropWhenOutOfStep(node))
    })
  } else hideTracedData(client)
  detectTlsMismatch(client, usesTls(client), warn)
  return client
}

/** Warns of an error if its remedy is known. */
export function warnOf(error: Error, warn: (message: string) => void): void {
  const remedy = remedyFor(error)
  if (remedy !== undefined) warn(remedy)
}

/** Returns the listeners that report a guard's events under the name of its store. */
export function guardEvents(
  events: EventBus,
  store: string,
  onChange: () => void,
): {
  onReplaced(): void
  onReply(operation: string, ms: number): void
  onSlow(call: SlowCall, node?: string): void
  onBreaker(state: 'open' | 'closed', reason: string | undefined, node?: string): void
} {
  const durations = new Map<string, DurationHistogram>()
  return {
    onReply(operation, ms) {
      const known = durations.get(operation)
      if (known) return known.add(ms)
      const created = events.counts.durations('operation', `${store}\n${operation}`)
      durations.set(operation, created)
      created.add(ms)
    },
    onSlow: (call, node) =>
      events.emit('slow', { store, ...call, ...(node !== undefined && { node }) }),
    onReplaced: () => events.emit('replaced', { store }),
    onBreaker(state, reason, node) {
      events.emit('breaker', { store, state, reason, ...(node !== undefined && { node }) })
      onChange()
    },
  }
}
