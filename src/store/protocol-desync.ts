/** Keeps what a connection delivers in step with the commands, where ioredis takes whatever comes. */
import type { ClusterClient, NodeClient } from './redis.ts'

/**
 * Tells of the connections to a Cluster's nodes, those of now and later ones: those for commands, and
 * those that ioredis makes to ask for the map of slots.
 */
export function eachConnection(cluster: ClusterClient, tell: (node: NodeClient) => void): void {
  const watch = (node: NodeClient): void => {
    tell(node)
    const duplicate = node.duplicate.bind(node)
    node.duplicate = (options) => {
      const another = duplicate(options)
      tell(another)
      refuseNonsense(another)
      return another
    }
  }
  for (const node of cluster.nodes('all')) watch(node)
  cluster.on('+node', watch)
}

type Hear = (error: Error | null | undefined, map?: unknown) => void

/** ioredis takes for a map of slots whatever is answered, and throws where nobody can catch it. */
function refuseNonsense(asking: NodeClient): void {
  const client = asking as unknown as { cluster(what: string, hear?: Hear): unknown }
  const ask = client.cluster.bind(client)
  client.cluster = (what, hear) =>
    ask(what, (error, map) =>
      hear?.(error ?? (isMap(map) ? null : new Error('this is no map of slots')), map),
    )
}

const isMap = (map: unknown): boolean =>
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

/** More replies than one read of a socket can hold. */
const MOST_SURPLUS = 20_000

/**
 * A reply that no command waits for means that the stream is out of step, and that others have been given to the
 * wrong commands: the connection is of no use any more. ioredis would go on with it, and throw where nobody can
 * catch it.
 */
export function dropWhenOutOfStep(client: NodeClient): void {
  const { commandQueue: queue, stream } = client as unknown as {
    commandQueue: { shift(): unknown }
    stream: { destroy(): void }
  }
  const ignore = (): void => {}
  const nobody = { command: { name: 'nobody', args: [], resolve: ignore, reject: ignore } }
  const shift = Object.getPrototypeOf(queue).shift as () => unknown
  // ioredis also empties the queue by shifting until there is nothing: it must come to an end.
  let left = MOST_SURPLUS
  queue.shift = () => {
    const next = shift.call(queue)
    if (next !== undefined || left-- <= 0) return next
    stream.destroy()
    return nobody
  }
}
