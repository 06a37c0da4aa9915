/** Checks of what a server keeps, how safely, and for whom. */
import {
  byInfo,
  describeThreshold,
  finding,
  isLasting,
  measured,
  millis,
  needs,
  percent,
  type ServerCheck,
} from './finding.ts'
import { FEATURE_COMMANDS } from './redis-permissions.ts'
import { shareOf } from './scan-keys.ts'
import { severityOf, THRESHOLDS } from './thresholds.ts'

export const keysWithoutTtl: ServerCheck = needs(
  'keys without TTL',
  ({ keys }) => keys,
  ({ sampled, withoutTtl, progress }) =>
    measured(
      THRESHOLDS.keysWithoutTtl,
      withoutTtl.length,
      `${withoutTtl.length} of ${sampled} sampled${withoutTtl.length > 0 ? `, like ${withoutTtl[0]}` : ''} (${percent(shareOf(progress))} of the keys were looked at)`,
      'Delete them: they stay for ever. turnpike sets a time to live for each key, so another program has written or persisted these.',
    ),
)

export const stuckKeys: ServerCheck = needs(
  'stuck idempotency keys',
  ({ keys }) => keys,
  ({ stuck }, _facts, now) => {
    const late = stuck.filter(
      ({ leaseEnded }) => severityOf(THRESHOLDS.stuckKey, now - leaseEnded) !== 'ok',
    )
    return finding(
      late.length > 0 ? 'warn' : 'ok',
      `${late.length}${late.length > 0 ? `, like ${late[0]!.key}` : ''}`,
      `warn if a lease ended more than ${millis(THRESHOLDS.stuckKey.warn)} ago`,
      'A process was killed while it handled these requests. The next request with the key runs again, or gets 409 with onCrash: conflict.',
    )
  },
)

export const clockSkew: ServerCheck = needs(
  'clock skew',
  ({ clockSkew }) => clockSkew,
  (skew) =>
    measured(
      THRESHOLDS.clockSkew,
      Math.abs(skew),
      `${millis(Math.abs(skew))} ${skew < 0 ? 'behind' : 'ahead of'} this machine`,
      'Run NTP on both machines. Limits and leases use the clock of Redis. Dates in cached responses and tokens use that of the process.',
    ),
)

export const persistence: ServerCheck = needs(
  'persistence',
  ({ info }) => info,
  (info, facts) => {
    const hasAof = info['aof_enabled'] === '1'
    const isFailing =
      (info['rdb_last_bgsave_status'] ?? 'ok') !== 'ok' ||
      (hasAof && [info['aof_last_write_status'], info['aof_last_bgrewrite_status']].includes('err'))
    const { snapshots } = facts
    const hasSnapshots = 'missing' in snapshots || snapshots.value.trim() !== ''
    const isForgetful = !hasAof && !hasSnapshots && isLasting(facts)
    const kinds = [hasAof && 'AOF', hasSnapshots && 'snapshots'].filter(Boolean).join(' and ')
    return finding(
      isFailing ? 'critical' : isForgetful ? 'warn' : 'ok',
      isFailing ? `${kinds || 'writing'}, and the last write failed` : kinds || 'none',
      'critical if writing fails, warn if nothing is written',
      isFailing
        ? 'Look at the disk of the server: it is full, or may not be written. Redis refuses writes then.'
        : 'Set appendonly yes. Otherwise a restart forgets sessions, idempotency keys and locks.',
    )
  },
)

export const replication: ServerCheck = byInfo('replication', (field, _facts, info) => {
  const threshold = `critical if a replica has lost its master, ${describeThreshold(THRESHOLDS.replicaLag)}`
  if (info['role'] === 'slave') {
    const isLost = info['master_link_status'] !== 'up'
    return finding(
      isLost ? 'critical' : 'ok',
      isLost ? 'a replica that has lost its master' : 'a replica',
      threshold,
      'Check that the master runs and can be reached from the replica. Until then it serves old data.',
    )
  }
  const replicas = Object.entries(info)
    .filter(([name]) => /^slave\d+$/.test(name))
    .map(([, text]) => Object.fromEntries(text.split(',').map((pair) => pair.split('='))))
  const lag = Math.max(0, ...replicas.map((each) => Number(each['lag'] ?? 0) * 1000))
  const isOffline = replicas.some((each) => each['state'] !== 'online')
  const status = isOffline ? 'warn' : severityOf(THRESHOLDS.replicaLag, lag)
  return finding(
    status,
    `a master with ${field('connected_slaves')} replicas${lag > 0 ? `, ${millis(lag)} behind` : ''}`,
    threshold,
    'Look at the load and the network of the replica. A failover would lose what it has not received.',
  )
})

const LOOPBACK = /^(127\.\d+\.\d+\.\d+|\[?::1\]?|localhost)(:\d+)?$|^\//

export const encryption: ServerCheck = {
  name: 'TLS',
  check: ({ address, usesTls }) =>
    finding(
      usesTls || LOOPBACK.test(address) ? 'ok' : 'warn',
      usesTls ? 'encrypted' : LOOPBACK.test(address) ? 'not needed on this machine' : 'none',
      'warn if a connection leaves the machine without TLS',
      'Use rediss://. docs/redis-setup.md shows the certificates.',
    ),
}

export const user: ServerCheck = needs(
  'ACL user',
  ({ user }) => user,
  (name) =>
    finding(
      name === 'default' ? 'warn' : 'ok',
      name,
      'warn for the user `default`',
      'Give the application a user of its own with the commands that it needs: `turnpike acl app`.',
    ),
)

export const permissions: ServerCheck = needs(
  'permissions',
  ({ forbidden }) => forbidden,
  (forbidden) => {
    const lacking = Object.entries(forbidden).filter(([, commands]) => commands.length > 0)
    const parts = lacking.map(
      ([feature, commands]) => `${feature}: ${commands.map((each) => `+${each}`).join(' ')}`,
    )
    return finding(
      lacking.length > 0 ? 'warn' : 'ok',
      lacking.length > 0
        ? `this Redis user lacks ${parts.join('; ')}`
        : `this Redis user may run ${Object.keys(FEATURE_COMMANDS).join(', ')}`,
      'warn if a command of a feature is missing',
      'This is right for a viewer. An application gets these errors as TP_COMMAND: grant what it uses (`turnpike acl app`).',
    )
  },
)
