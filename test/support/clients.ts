import type { Cluster, Redis } from 'ioredis'
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis5'
import type { RedisSource } from '../../src/store/redis.ts'

type Nodes = Exclude<Extract<RedisSource, { cluster: unknown }>, Cluster>

/** Sources of Redis for turnpike, by the client that it then uses. Clients that are created here never connect themselves. */
export const clients = {
  'ioredis 6': {
    server: (url: string): RedisSource => url,
    cluster: (nodes: Nodes): RedisSource => nodes,
  },
  'ioredis 5': {
    server: (url: string): RedisSource =>
      new Redis5(url, { lazyConnect: true }) as unknown as Redis,
    cluster: ({ cluster, options }: Nodes): RedisSource =>
      new Cluster5(cluster as { host: string; port: number }[], {
        natMap: options?.natMap as Record<string, { host: string; port: number }>,
        lazyConnect: true,
      }) as unknown as Cluster,
  },
}
export type ClientName = keyof typeof clients
export const CLIENTS = Object.keys(clients) as ClientName[]
