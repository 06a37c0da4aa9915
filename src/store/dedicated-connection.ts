/** A connection for a library that brings its own commands, by the configuration of the instance. */
import type { ConnectionPurpose } from './client-options.ts'
import { endWhenDisconnected } from './ioredis-patches.ts'
import { warnOf, maintainConnection } from './maintain-connection.ts'
import {
  createClient,
  duplicateClient,
  endClient,
  isClient,
  prefixOf,
  type Client,
  type IoredisClient,
  type RedisSource,
} from './redis.ts'

/** A connection that belongs to its caller. */
export interface DedicatedConnection {
  /** The client. Its commands have neither the timeout nor the breaker of the store. */
  readonly client: IoredisClient
  /** What the client of `reuse` would put before all keys. The caller must do it. */
  readonly keyPrefix: string
  /** Timeout that the instance has for a call, in ms. */
  readonly commandTimeout: number
  /** Ends the connection, within half a second. */
  end(): Promise<void>
}

/** What a connection is opened with. */
export interface DedicatedConnectionOptions {
  readonly source: RedisSource
  readonly db: number | undefined
  readonly reuse: boolean
  readonly commandTimeout: number
  readonly purpose: ConnectionPurpose
  warn(message: string): void
}

/**
 * Opens a connection. It need not be established when this resolves.
 * @throws TP_NO_IOREDIS if ioredis is not installed; TP_OPTION if it rejects the options
 */
export async function openDedicatedConnection({
  source,
  db,
  reuse,
  commandTimeout,
  purpose,
  warn,
}: DedicatedConnectionOptions): Promise<DedicatedConnection> {
  const client: Client = isClient(source)
    ? duplicateClient(source, { db, purpose })
    : await createClient(source, db, purpose)
  let isClosed = false
  if (purpose === 'calls') maintainConnection(client, warn, () => isClosed)
  else endWhenDisconnected(client).on('error', (error: Error) => warnOf(error, warn))
  return {
    client,
    keyPrefix: reuse && isClient(source) ? prefixOf(source) : '',
    commandTimeout,
    async end() {
      isClosed = true
      await endClient(client)
    },
  }
}
