/** Checks of a server's resources: time, memory, connections. */
import {
  byInfo,
  bytes,
  describeThreshold,
  finding,
  isLasting,
  measured,
  millis,
  needs,
  percent,
  type ServerCheck,
} from './finding.ts'
import { severityOf, THRESHOLDS } from './thresholds.ts'

export const connection: ServerCheck = needs(
  'connection',
  ({ pings }) => pings,
  (pings) => {
    const median = pings[Math.floor(pings.length / 2)]!
    return measured(
      THRESHOLDS.ping,
      median,
      `PING takes ${millis(median)} (median), ${millis(pings.at(-1)!)} at most`,
      'Run the application in the same zone as Redis. Look at the slow log, and at the load of both machines.',
    )
  },
)

export const version: ServerCheck = byInfo('version', (_field, _facts, info) => {
  const valkey = info['valkey_version']
  const found = valkey ?? info['redis_version'] ?? ''
  const [major = 0, minor = 0] = found.split('.').map(Number)
  const isOld = valkey === undefined ? major < 7 : major < 7 || (major === 7 && minor < 2)
  return finding(
    isOld ? 'critical' : 'ok',
    `${valkey === undefined ? 'Redis' : 'Valkey'} ${found}`,
    'critical before Redis 7.0 and Valkey 7.2',
    'Use Redis 7.0, Valkey 7.2, or later. Scripts of turnpike need commands that this server lacks.',
  )
})

export const memory: ServerCheck = byInfo('memory', (field) => {
  const max = field('maxmemory')
  const [used, total] =
    max > 0
      ? [field('used_memory'), max]
      : [field('used_memory_rss'), field('total_system_memory') || Infinity]
  const whole = max > 0 ? 'maxmemory' : 'the memory of the machine'
  return measured(
    THRESHOLDS.memory,
    used / total,
    `${bytes(used)}, ${percent(used / total)} of ${whole}`,
    'Raise maxmemory or use a larger server. `turnpike keys --tree` shows what takes the space.',
  )
})

export const fragmentation: ServerCheck = byInfo('fragmentation', (field) => {
  const wasted = Math.max(0, field('used_memory_rss') - field('used_memory'))
  const ratio = field('used_memory_rss') / Math.max(1, field('used_memory'))
  // A small server has a high ratio, and a large one many bytes, without being fragmented.
  const counted = ratio > 1.5 ? wasted : 0
  return measured(
    THRESHOLDS.fragmentation,
    counted,
    `${bytes(wasted)} beyond what is in use, ratio ${ratio.toFixed(2)}`,
    'Set activedefrag yes, or restart the server at a quiet time after a failover.',
  )
})

export const evictionPolicy: ServerCheck = byInfo('eviction policy', (field, facts, info) => {
  const policy = info['maxmemory_policy'] ?? 'unknown'
  const evicts = /^(allkeys|volatile)-/.test(policy) && field('maxmemory') > 0
  return finding(
    evicts && isLasting(facts) ? 'critical' : 'ok',
    field('maxmemory') > 0 ? policy : `${policy}, no maxmemory`,
    'critical if keys other than cached responses can be evicted',
    'Set maxmemory-policy noeviction, and give the cache a server of its own (option stores). Otherwise sessions, limits, locks and idempotency keys can be lost.',
  )
})

export const evictions: ServerCheck = byInfo('evictions', (field, facts) =>
  measured(
    THRESHOLDS.evictions,
    isLasting(facts) ? field('evicted_keys') : 0,
    `${field('evicted_keys')} since the start of the server`,
    'Redis was full and deleted keys. Raise maxmemory, and set maxmemory-policy noeviction.',
  ),
)

export const hitRate: ServerCheck = byInfo('hit rate', (field) => {
  const [hits, misses] = [field('keyspace_hits'), field('keyspace_misses')]
  const reads = hits + misses
  const rate = reads < MIN_READS ? 1 : hits / reads
  return measured(
    THRESHOLDS.hitRate,
    rate,
    reads < MIN_READS ? `only ${reads} reads yet` : `${percent(rate)} of ${reads} reads`,
    'Look at the events `cache` with their reasons: short lifetimes, personal responses, many variants. Reads of new sessions and limits are misses, too.',
  )
})
/** Below so many reads a rate says nothing. */
const MIN_READS = 1000
const HOUR = 3_600_000

export const slowLog: ServerCheck = needs(
  'slow log',
  ({ slowCommands }) => slowCommands,
  (all, _facts, now) => {
    const slow = all.filter(
      ({ at, ms }) => at > now - HOUR && severityOf(THRESHOLDS.slowCommand, ms) !== 'ok',
    )
    const [worst] = slow.toSorted((a, b) => b.ms - a.ms)
    return finding(
      worst ? 'warn' : 'ok',
      worst
        ? `${slow.length} in the last hour, at most ${millis(worst.ms)} (${worst.command})`
        : 'none in the last hour',
      describeThreshold(THRESHOLDS.slowCommand),
      'Everything waits while a slow command runs. SLOWLOG GET shows it. KEYS, large values and long scripts are the usual causes.',
    )
  },
)

export const clients: ServerCheck = byInfo('clients', (field) => {
  const [connected, most] = [field('connected_clients'), field('maxclients') || Infinity]
  const rejected = field('rejected_connections')
  const status = severityOf(THRESHOLDS.clients, connected / most)
  return finding(
    status === 'ok' && rejected > 0 ? 'warn' : status,
    `${connected} of ${most}, ${rejected} rejected since the start of the server`,
    `${describeThreshold(THRESHOLDS.clients)}, warn if any was rejected`,
    'Raise maxclients, or find out who opens so many connections: CLIENT LIST. An instance of turnpike has one to four.',
  )
})

export const clusterState: ServerCheck = needs(
  'cluster state',
  ({ cluster }) => cluster,
  (info) => {
    const state = info['cluster_state'] ?? 'unknown'
    const [assigned, failing, suspected] = ['assigned', 'fail', 'pfail'].map((name) =>
      Number(info[`cluster_slots_${name}`] ?? 0),
    ) as [number, number, number]
    const isBroken = state !== 'ok' || assigned < 16_384 || failing > 0
    return finding(
      isBroken ? 'critical' : suspected > 0 ? 'warn' : 'ok',
      `${state}, ${assigned} slots assigned, ${failing} failing, ${suspected} suspected`,
      'critical unless all slots are served',
      'CLUSTER NODES shows which master is gone. Start it, or assign its slots to another one.',
    )
  },
)
