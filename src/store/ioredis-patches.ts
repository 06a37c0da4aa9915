/**
 * Everything that reaches into ioredis beyond its documented API, for ioredis 5 and 6. Each function
 * says what ioredis does without it.
 */
import { hasSubscribers } from 'node:diagnostics_channel'
import type { Cluster, Redis } from 'ioredis'
import { toCause } from './diagnose.ts'

/** The method that describes a command to tracers, since ioredis 5.11. */
const DESCRIBE_COMMAND = '_buildCommandContext'

/** Members of ioredis's Redis that its types do not declare. */
interface RedisInternals {
  commandQueue?: { shift(): unknown }
  offlineQueue?: { toArray(): { command: { name: string; args: unknown[] } }[] }
  condition?: { select?: number | string | null }
  reconnectTimeout?: NodeJS.Timeout | null
  stream?: { destroy(): void; unref?(): void }
  /** Commands that were sent over the lost connection, and will be sent again. */
  prevCommandQueue?: { shift(): { command: { reject(error: Error): void } } | undefined } | null
  /** Commands that were defined on the client. */
  scriptsSet: Readonly<Record<string, { readonly lua: string }>>
  setStatus(status: 'end'): void
  flushQueue(error: Error): void
  [DESCRIBE_COMMAND]?(command: TracedCommand): { args: string[] }
}

/** A command as ioredis describes it to tracers. */
interface TracedCommand {
  readonly name: string
  readonly args: readonly unknown[]
}

const internals = (client: Redis | Cluster): RedisInternals => client as unknown as RedisInternals

/**
 * Loads the scripts of all commands that were defined on a client.
 *
 * ioredis sends a script once over each connection, and its digest from then on. In a transaction it
 * does not notice that the server has lost the script (SCRIPT FLUSH). All later ones would fail.
 */
export async function loadScripts(client: Redis | Cluster): Promise<void> {
  const scripts = Object.values(internals(client).scriptsSet)
  const nodes = 'nodes' in client ? client.nodes('master') : [client]
  await Promise.all(nodes.flatMap((node) => scripts.map(({ lua }) => node.script('LOAD', lua))))
}

/** More replies than one read from a socket can hold. */
const MAX_SURPLUS_REPLIES = 20_000

/**
 * Destroys the socket at a reply that no command waits for. Call it on every 'connect'.
 *
 * Such a reply means that the connection has lost the order of replies, and that earlier ones went
 * to the wrong commands. ioredis would keep using it, and throws where nothing can catch the error.
 */
export function dropWhenOutOfStep(client: Redis): void {
  const { commandQueue: queue, stream } = internals(client)
  if (!queue || !stream) return
  const ignore = (): void => {}
  const discarded = { command: { name: 'discarded', args: [], resolve: ignore, reject: ignore } }
  const shift = Object.getPrototypeOf(queue).shift as () => unknown
  // ioredis also empties the queue by shifting until it returns undefined: that must end.
  let remaining = MAX_SURPLUS_REPLIES
  queue.shift = () => {
    const next = shift.call(queue)
    if (next !== undefined || remaining-- <= 0) return next
    stream.destroy()
    return discarded
  }
}

/**
 * Calls `listener` with every connection to a node of a Cluster, present and future, including those
 * by which ioredis asks for the map of slots. ioredis reports the latter to no one.
 */
export function onEachConnection(cluster: Cluster, listener: (node: Redis) => void): void {
  const watch = (node: Redis): void => {
    listener(node)
    const duplicate = node.duplicate.bind(node)
    node.duplicate = (options) => {
      const copy = duplicate(options)
      listener(copy)
      rejectInvalidSlotMaps(copy)
      return copy
    }
  }
  for (const node of cluster.nodes('all')) watch(node)
  cluster.on('+node', watch)
}

type SlotMapCallback = (error: Error | null | undefined, map?: unknown) => void

/** Reports an error for a map of slots that is none. ioredis would use it, and throw where nothing can catch the error. */
function rejectInvalidSlotMaps(node: Redis): void {
  const client = node as unknown as { cluster(verb: string, callback?: SlotMapCallback): unknown }
  const cluster = client.cluster.bind(client)
  client.cluster = (verb, callback) =>
    cluster(verb, (error, map) =>
      callback?.(error ?? (isSlotMap(map) ? null : new Error('The map of slots is invalid.')), map),
    )
}

const isSlotMap = (map: unknown): boolean =>
  Array.isArray(map) &&
  map.length > 0 &&
  map.every(
    (range: unknown) =>
      Array.isArray(range) &&
      range[0] >= 0 &&
      range[0] <= range[1] &&
      range[1] < 16_384 &&
      range.slice(2).every((node: unknown) => Array.isArray(node)),
  )

/**
 * Hides what commands carry from the subscribers of `tracing:ioredis:command`. Without it, ioredis 5.11
 * and later show them arguments of EVALSHA, replies, and errors with arguments: session data and cached
 * responses.
 */
export function hideTracedData(client: Redis): void {
  const traced = internals(client)
  const describe = traced[DESCRIBE_COMMAND]?.bind(client)
  if (!describe) return
  traced[DESCRIBE_COMMAND] = ({ name, args }) => {
    const context = { ...describe({ name, args: [] }), args: args.map(() => '?') }
    let cause: Error | undefined
    // The channel assigns both when the command ends.
    return Object.defineProperties(context, {
      result: { set() {} },
      error: {
        get: () => cause,
        set(error: unknown) {
          cause = toCause(error)
        },
        enumerable: true,
      },
    })
  }
}

/** Returns true if a tracer receives what a client's commands carry. */
export const showsTracedData = (client: Redis | Cluster): boolean =>
  (client.isCluster || internals(client)[DESCRIBE_COMMAND] !== undefined) &&
  ['start', 'end', 'asyncStart', 'asyncEnd', 'error'].some((event) =>
    hasSubscribers(`tracing:ioredis:command:${event}`),
  )

/**
 * Lets the process end although the connection is open. Calls in progress keep it alive by the
 * guard's timer. An idle ioredis client would keep it alive for ever.
 */
export function unrefSocket(client: Redis | Cluster): void {
  const nodes = client.isCluster ? (client as Cluster).nodes('all') : [client as Redis]
  for (const node of nodes) internals(node).stream?.unref?.()
}

/** Lets the process end although the client waits to reconnect. */
export function unrefReconnectTimer(client: Redis | Cluster): void {
  internals(client).reconnectTimeout?.unref?.()
}

/**
 * Lets `disconnect()` end a client that waits to reconnect, and the clients that `duplicate()` makes of
 * it. ioredis then stops waiting, but neither rejects its commands nor emits 'end'. BullMQ waits for that
 * for ever, and its timers keep the process alive.
 */
export function endWhenDisconnected<Client extends Redis | Cluster>(client: Client): Client {
  const inside = internals(client)
  const disconnect = client.disconnect.bind(client)
  client.disconnect = (reconnect = false) => {
    const isWaiting = client.status === 'reconnecting'
    disconnect(reconnect)
    if (!isWaiting || reconnect) return
    const error = new Error('Connection is closed.')
    inside.setStatus('end')
    inside.flushQueue(error)
    for (let sent; (sent = inside.prevCommandQueue?.shift());) sent.command.reject(error)
  }
  const duplicate = client.duplicate.bind(client) as (...args: unknown[]) => Redis | Cluster
  client.duplicate = ((...args: unknown[]) =>
    endWhenDisconnected(duplicate(...args))) as Client['duplicate']
  return client
}

/**
 * Returns the database that a client uses. `duplicate()` would use the one of its options, although
 * `select()` was called, perhaps before the client was connected.
 */
export function selectedDatabase(client: Redis): number {
  const { condition, offlineQueue } = internals(client)
  const queued = offlineQueue?.toArray().findLast(({ command }) => command.name === 'select')
  return Number(queued?.command.args[0] ?? condition?.select ?? client.options.db ?? 0)
}
