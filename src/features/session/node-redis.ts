/** An ioredis client in the clothes of node-redis 5, as far as connect-redis goes by them. */

/** What is needed of an ioredis client or Cluster. */
export interface IoredisLike {
  get(key: string): Promise<string | null>
  set(key: string, value: string, ...options: any[]): Promise<unknown>
  del(key: string): Promise<number>
  expire(key: string, seconds: number): Promise<number>
  scan(cursor: string, ...options: any[]): Promise<[cursor: string, keys: string[]]>
  options?: { keyPrefix?: string | undefined }
  isCluster?: boolean
  nodes?(role: 'master'): Pick<IoredisLike, 'scan'>[]
}

/** When a value ends: as node-redis 5 says it, and as node-redis 4 did. */
interface SetOptions {
  expiration?: 'KEEPTTL' | { type: 'EX' | 'PX' | 'EXAT' | 'PXAT' | 'KEEPTTL'; value?: number }
  condition?: 'NX' | 'XX'
  EX?: number
  PX?: number
}

/** The commands of node-redis that connect-redis uses. */
export interface NodeRedis {
  get(key: string): Promise<string | null>
  set(key: string, value: string, options?: SetOptions): Promise<unknown>
  del(keys: string | readonly string[]): Promise<number>
  expire(key: string, seconds: number): Promise<number>
  mGet(keys: readonly string[]): Promise<(string | null)[]>
  scanIterator(options?: { MATCH?: string; COUNT?: number }): AsyncGenerator<any>
}

/** How many commands are sent side by side. */
const ABREAST = 500

/**
 * Lets connect-redis 9 and 10, which take only node-redis, run over an ioredis client or Cluster:
 *
 *     new RedisStore({ client: asNodeRedis(ioredis) })
 *
 * Several keys become several commands, so that a Cluster's slots do not matter.
 * @param options `scan: 'keys'` gives `scanIterator` in the form of node-redis 4, which connect-redis 8 wants; connect-redis 8
 *   takes ioredis as it is, too. Default `'pages'`
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
    for (let i = 0; i < keys.length; i += ABREAST)
      all.push(...(await Promise.all(keys.slice(i, i + ABREAST).map(command))))
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
