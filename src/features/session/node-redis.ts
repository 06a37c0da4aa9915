/** An ioredis client with the interface of node-redis 5, as far as connect-redis uses it. */

/** The part of an ioredis client or Cluster that `asNodeRedis` uses. */
export interface IoredisLike {
  /** GET: resolves with the value, null if there is none. */
  get(key: string): Promise<string | null>
  /** SET with its options. */
  set(key: string, value: string, ...options: any[]): Promise<unknown>
  /** DEL of one key. */
  del(key: string): Promise<number>
  /** EXPIRE. */
  expire(key: string, seconds: number): Promise<number>
  /** SCAN with its options. */
  scan(cursor: string, ...options: any[]): Promise<[cursor: string, keys: string[]]>
  /** The client's options. Keys that SCAN returns begin with `keyPrefix`. */
  options?: { keyPrefix?: string | undefined }
  /** True for a Cluster. */
  isCluster?: boolean
  /** The nodes of a Cluster. Each is scanned. */
  nodes?(role: 'master'): Pick<IoredisLike, 'scan'>[]
}

/** Options of SET: `expiration` is of node-redis 5, `EX` and `PX` are of node-redis 4. */
interface SetOptions {
  expiration?: 'KEEPTTL' | { type: 'EX' | 'PX' | 'EXAT' | 'PXAT' | 'KEEPTTL'; value?: number }
  condition?: 'NX' | 'XX'
  EX?: number
  PX?: number
}

/** The commands of node-redis that connect-redis uses. */
export interface NodeRedis {
  /** GET: resolves with the value, null if there is none. */
  get(key: string): Promise<string | null>
  /** SET with the options of node-redis 4 or 5. */
  set(key: string, value: string, options?: SetOptions): Promise<unknown>
  /** Deletes one key or several. */
  del(keys: string | readonly string[]): Promise<number>
  /** EXPIRE. */
  expire(key: string, seconds: number): Promise<number>
  /** Resolves with the values of several keys, in their order. */
  mGet(keys: readonly string[]): Promise<(string | null)[]>
  /** Iterates over keys, of all nodes on a Cluster. See `asNodeRedis` for the form. */
  scanIterator(options?: { MATCH?: string; COUNT?: number }): AsyncGenerator<any>
}

/** Number of commands that are sent at once. */
const CONCURRENCY = 500

/**
 * Adapts an ioredis client or Cluster for connect-redis 9 and 10, which accept only node-redis.
 * Several keys become several commands, so that they may be in different slots of a Cluster.
 *
 * @param options `scan: 'keys'` makes `scanIterator` yield keys as node-redis 4 does, for connect-redis 8.
 *   Default: `'pages'`
 * @example
 * const store = new RedisStore({ client: asNodeRedis(new Redis(url)) })
 */
export function asNodeRedis(
  client: IoredisLike,
  { scan = 'pages' }: { scan?: 'pages' | 'keys' } = {},
): NodeRedis {
  const prefix = client.options?.keyPrefix ?? ''

  async function each<Value>(
    keys: readonly string[],
    command: (key: string) => Promise<Value>,
  ): Promise<Value[]> {
    const all: Value[] = []
    for (let i = 0; i < keys.length; i += CONCURRENCY)
      all.push(...(await Promise.all(keys.slice(i, i + CONCURRENCY).map(command))))
    return all
  }

  return {
    get: (key) => client.get(key),
    set: (key, value, options) => client.set(key, value, ...setArguments(options)),
    async del(keys) {
      const counts = await each(typeof keys === 'string' ? [keys] : keys, (key) => client.del(key))
      return counts.reduce((sum, count) => sum + count, 0)
    },
    expire: (key, seconds) => client.expire(key, seconds),
    mGet: (keys) => each(keys, (key) => client.get(key)),
    async *scanIterator({ MATCH = '*', COUNT = 100 } = {}) {
      const nodes = client.isCluster && client.nodes ? client.nodes('master') : [client]
      for (const node of nodes) {
        let cursor = '0'
        do {
          const [next, found] = await node.scan(cursor, 'MATCH', prefix + MATCH, 'COUNT', COUNT)
          cursor = next
          const keys = found.map((key) => key.slice(prefix.length))
          if (scan === 'keys') yield* keys
          else yield keys
        } while (cursor !== '0')
      }
    },
  }
}

function setArguments({ expiration, condition, EX, PX }: SetOptions = {}): (string | number)[] {
  const end = typeof expiration === 'string' ? { type: expiration } : expiration
  const legacy = EX === undefined ? (PX === undefined ? [] : ['PX', PX]) : ['EX', EX]
  const life =
    end === undefined ? legacy : end.value === undefined ? [end.type] : [end.type, end.value]
  return condition === undefined ? life : [...life, condition]
}
