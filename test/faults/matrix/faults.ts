/** The faults of Redis and of its network: how each is injected and removed. */
import type { Redis } from 'ioredis'
import type { RedisServer } from '../../../src/testing.ts'
import type { FaultProxy } from '../../support/fault-proxy.ts'

export interface FaultTarget {
  server: RedisServer
  /** The proxy between the application and the server. */
  proxy: FaultProxy
  /** A direct connection to the server, opened before the fault. */
  admin: Redis
}

export interface Fault {
  name: string
  /**
   * What the features see, in the terms of docs/failure-modes.md:
   * - `away`: every command fails
   * - `at times`: some commands fail
   * - `reads`: reads succeed and writes fail
   * - `full`: as `reads`, but a script that first frees memory may write
   * - `forbidden`: scripts are rejected as programming errors, which is not an outage
   * - `garbled`: some replies are corrupt
   */
  kind: 'away' | 'at times' | 'reads' | 'full' | 'forbidden' | 'garbled'
  /** Arguments of redis-server. */
  args?: readonly string[]
  /** The password that the application uses. */
  password?: string
  /** True if the fault begins before the application starts. */
  early?: boolean
  /** True if Redis loses its data. */
  forgets?: boolean
  /** True if commands that were sent before or during the fault reach Redis after it. */
  delivers?: boolean
  inject(target: FaultTarget): unknown
  remove(target: FaultTarget): unknown
}

const healProxy = ({ proxy }: FaultTarget): void => proxy.heal()

export const faults: readonly Fault[] = [
  {
    name: 'never up',
    kind: 'away',
    early: true,
    forgets: true,
    inject: ({ server }) => server.kill(),
    remove: ({ server }) => server.restart(),
  },
  {
    name: 'refused',
    kind: 'away',
    inject({ proxy }) {
      proxy.set({ mode: 'refuse' })
      proxy.reset()
    },
    remove: healProxy,
  },
  {
    name: 'stalled (half-open)',
    kind: 'away',
    delivers: true,
    inject: ({ proxy }) => proxy.set({ mode: 'stall' }),
    remove: healProxy,
  },
  {
    name: 'replies lost',
    kind: 'away',
    inject: ({ proxy }) => proxy.set({ mode: 'stallDown' }),
    remove: healProxy,
  },
  {
    name: 'latency 300 ms',
    kind: 'away',
    delivers: true,
    inject: ({ proxy }) => proxy.set({ latency: 150 }),
    remove: healProxy,
  },
  {
    name: 'jitter 0 to 160 ms',
    kind: 'at times',
    inject: ({ proxy }) => proxy.set({ jitter: 80 }),
    remove: healProxy,
  },
  {
    name: '20 % resets',
    kind: 'at times',
    inject: ({ proxy }) => proxy.set({ drops: 0.2 }),
    remove: healProxy,
  },
  {
    name: '200 bytes a second',
    kind: 'away',
    delivers: true,
    inject: ({ proxy }) => proxy.set({ bandwidth: 200 }),
    remove: healProxy,
  },
  {
    name: 'corrupt bytes',
    kind: 'garbled',
    inject: ({ proxy }) => proxy.set({ corrupts: 0.2 }),
    remove: healProxy,
  },
  {
    name: 'frozen (SIGSTOP)',
    kind: 'away',
    delivers: true,
    inject: ({ server }) => server.freeze(),
    remove: ({ server }) => server.thaw(),
  },
  {
    name: 'killed (SIGKILL)',
    kind: 'away',
    forgets: true,
    inject: ({ server }) => server.kill(),
    remove: ({ server }) => server.restart(),
  },
  {
    name: 'restarted empty (NOSCRIPT)',
    kind: 'at times',
    forgets: true,
    inject: ({ server }) => server.restart(),
    remove: () => {},
  },
  {
    name: 'LOADING',
    kind: 'away',
    // The server loads keys slowly and answers LOADING meanwhile.
    args: ['--key-load-delay', '2000', '--loading-process-events-interval-bytes', '1024'],
    async inject({ server, admin }) {
      const fill = `for i = 1, 3000 do redis.call('SET', 'ballast:' .. i, string.rep('x', 40), 'PX', 600000) end`
      await admin.eval(fill, 0)
      await admin.save()
      await server.restart()
    },
    remove: ({ server }) => server.send('CONFIG', 'SET', 'key-load-delay', '0'),
  },
  {
    name: 'READONLY',
    kind: 'reads',
    inject: ({ admin }) => admin.replicaof('127.0.0.1', 1),
    remove: ({ admin }) => admin.replicaof('NO', 'ONE'),
  },
  {
    name: 'OOM (noeviction)',
    kind: 'full',
    inject: ({ admin }) => admin.config('SET', 'maxmemory', '1'),
    remove: ({ admin }) => admin.config('SET', 'maxmemory', '0'),
  },
  {
    name: 'maxclients',
    kind: 'away',
    async inject({ admin, proxy }) {
      await admin.config('SET', 'maxclients', '1')
      proxy.reset()
    },
    remove: ({ admin }) => admin.config('SET', 'maxclients', '10000'),
  },
  {
    name: 'wrong password',
    kind: 'away',
    args: ['--requirepass', 'first'],
    password: 'first',
    async inject({ admin, proxy }) {
      await admin.config('SET', 'requirepass', 'second')
      proxy.reset()
    },
    remove: ({ admin }) => admin.config('SET', 'requirepass', 'first'),
  },
  {
    name: 'ACL without scripts',
    kind: 'forbidden',
    inject: ({ admin }) => admin.acl('SETUSER', 'default', '-@scripting'),
    remove: ({ admin }) => admin.acl('SETUSER', 'default', '+@all'),
  },
]

export const faultCalled = (name: string): Fault => faults.find((each) => each.name === name)!
