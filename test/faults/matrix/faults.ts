/** The ways in which Redis goes wrong, and what makes them well again. */
import type { Redis } from 'ioredis'
import type { RedisServer } from '../../../src/testing.ts'
import type { FaultProxy } from '../../support/fault-proxy.ts'

export interface Patient {
  server: RedisServer
  /** Between the application and the server. */
  proxy: FaultProxy
  /** Past the proxy, and connected before the fault. */
  admin: Redis
}

export interface Fault {
  name: string
  /**
   * What it means for the features, as docs/failure-modes.md puts it:
   * - `away`: nothing that is asked of Redis comes of it
   * - `at times`: some of it does
   * - `reads`: Redis answers what reads, and refuses what writes
   * - `full`: as `reads`, and some scripts that first give something back may write
   * - `forbidden`: it refuses scripts as programming errors: that is no outage
   * - `garbled`: it seems to answer, and some of that is nonsense
   */
  kind: 'away' | 'at times' | 'reads' | 'full' | 'forbidden' | 'garbled'
  /** Arguments of the server. */
  args?: readonly string[]
  /** The password that the application has. */
  password?: string
  /** It is there before the application is. */
  early?: boolean
  /** Redis forgets everything. */
  forgets?: boolean
  /** What was sent before or during the fault reaches Redis after it. */
  delivers?: boolean
  strike(patient: Patient): unknown
  heal(patient: Patient): unknown
}

const healProxy = ({ proxy }: Patient): void => proxy.heal()

export const faults: readonly Fault[] = [
  {
    name: 'never up',
    kind: 'away',
    early: true,
    forgets: true,
    strike: ({ server }) => server.kill(),
    heal: ({ server }) => server.restart(),
  },
  {
    name: 'refused',
    kind: 'away',
    strike({ proxy }) {
      proxy.set({ mode: 'refuse' })
      proxy.reset()
    },
    heal: healProxy,
  },
  {
    name: 'stalled (half-open)',
    kind: 'away',
    delivers: true,
    strike: ({ proxy }) => proxy.set({ mode: 'stall' }),
    heal: healProxy,
  },
  {
    name: 'replies lost',
    kind: 'away',
    strike: ({ proxy }) => proxy.set({ mode: 'stallDown' }),
    heal: healProxy,
  },
  {
    name: 'latency 300 ms',
    kind: 'away',
    delivers: true,
    strike: ({ proxy }) => proxy.set({ latency: 150 }),
    heal: healProxy,
  },
  {
    name: 'jitter 0 to 160 ms',
    kind: 'at times',
    strike: ({ proxy }) => proxy.set({ jitter: 80 }),
    heal: healProxy,
  },
  {
    name: '20 % resets',
    kind: 'at times',
    strike: ({ proxy }) => proxy.set({ drops: 0.2 }),
    heal: healProxy,
  },
  {
    name: '200 bytes a second',
    kind: 'away',
    delivers: true,
    strike: ({ proxy }) => proxy.set({ bandwidth: 200 }),
    heal: healProxy,
  },
  {
    name: 'corrupt bytes',
    kind: 'garbled',
    strike: ({ proxy }) => proxy.set({ corrupts: 0.2 }),
    heal: healProxy,
  },
  {
    name: 'frozen (SIGSTOP)',
    kind: 'away',
    delivers: true,
    strike: ({ server }) => server.freeze(),
    heal: ({ server }) => server.thaw(),
  },
  {
    name: 'killed (SIGKILL)',
    kind: 'away',
    forgets: true,
    strike: ({ server }) => server.kill(),
    heal: ({ server }) => server.restart(),
  },
  {
    name: 'restarted empty (NOSCRIPT)',
    kind: 'at times',
    forgets: true,
    strike: ({ server }) => server.restart(),
    heal: () => {},
  },
  {
    name: 'LOADING',
    kind: 'away',
    // Each key takes its time, and the server answers meanwhile.
    args: ['--key-load-delay', '2000', '--loading-process-events-interval-bytes', '1024'],
    async strike({ server, admin }) {
      const fill = `for i = 1, 3000 do redis.call('SET', 'ballast:' .. i, string.rep('x', 40), 'PX', 600000) end`
      await admin.eval(fill, 0)
      await admin.save()
      await server.restart()
    },
    heal: ({ server }) => server.send('CONFIG', 'SET', 'key-load-delay', '0'),
  },
  {
    name: 'READONLY',
    kind: 'reads',
    strike: ({ admin }) => admin.replicaof('127.0.0.1', 1),
    heal: ({ admin }) => admin.replicaof('NO', 'ONE'),
  },
  {
    name: 'OOM (noeviction)',
    kind: 'full',
    strike: ({ admin }) => admin.config('SET', 'maxmemory', '1'),
    heal: ({ admin }) => admin.config('SET', 'maxmemory', '0'),
  },
  {
    name: 'maxclients',
    kind: 'away',
    async strike({ admin, proxy }) {
      await admin.config('SET', 'maxclients', '1')
      proxy.reset()
    },
    heal: ({ admin }) => admin.config('SET', 'maxclients', '10000'),
  },
  {
    name: 'wrong password',
    kind: 'away',
    args: ['--requirepass', 'first'],
    password: 'first',
    async strike({ admin, proxy }) {
      await admin.config('SET', 'requirepass', 'second')
      proxy.reset()
    },
    heal: ({ admin }) => admin.config('SET', 'requirepass', 'first'),
  },
  {
    name: 'ACL without scripts',
    kind: 'forbidden',
    strike: ({ admin }) => admin.acl('SETUSER', 'default', '-@scripting'),
    heal: ({ admin }) => admin.acl('SETUSER', 'default', '+@all'),
  },
]

export const faultCalled = (name: string): Fault => faults.find((each) => each.name === name)!
