/** `npx turnpike doctor`: each check has a Redis that triggers it, and one that does not. */
import { channel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkApmTools } from '../../src/commands/doctor.ts'
import { SERVER_CHECKS } from '../../src/operations/server-checks.ts'
import type { ServerFacts } from '../../src/operations/server-facts.ts'
import { severityOf, THRESHOLDS } from '../../src/operations/thresholds.ts'
import { remedyForSilence } from '../../src/store/diagnose.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.ts'
import { startTlsRedis } from '../support/tls.ts'
import { answer, turnpike } from './support.ts'

let server: RedisServer
let proxy: FaultProxy
let url: string

/** A server about which there is nothing to say, and a user of the application's own. */
beforeAll(async () => {
  server = await startRedis({
    args: [
      '--appendonly',
      'yes',
      '--maxmemory',
      '100mb',
      '--maxmemory-policy',
      'noeviction',
      '--enable-debug-command',
      'yes',
      '--slowlog-log-slower-than',
      '-1',
    ],
  })
  await server.send('ACL', 'SETUSER', 'app', 'on', '>pw', '~*', '&*', '+@all')
  url = `redis://app:pw@127.0.0.1:${server.port}`
  proxy = await startFaultProxy(server.port)
})
afterAll(async () => {
  await proxy.close()
  await server.stop()
})

interface Shown {
  check: string
  status: string
  value: string
  threshold: string
  remedy?: string
}

async function diagnose(
  redis: string = url,
  given: Parameters<typeof answer>[1] = {},
): Promise<{ code: number; findings: Shown[]; of(check: string): Shown }> {
  const { code, data, error } = await answer(['doctor', '--redis', redis], given)
  if (error) throw new Error(error.message)
  const findings = data.findings as Shown[]
  return { code, findings, of: (check) => findings.find((each) => each.check === check)! }
}

const set = (...pairs: string[]): Promise<string> => server.send('CONFIG', 'SET', ...pairs)

it('finds nothing at a server that is well, and ends with 0', async () => {
  const { code, findings } = await diagnose()
  const others = findings.filter(({ check }) => check !== 'connection')
  expect(others.filter(({ status }) => status !== 'ok').map(({ check }) => check)).toEqual([
    'cluster state',
  ])
  expect(code).toBe(0)
  expect(findings.map(({ check }) => check)).toEqual([
    ...SERVER_CHECKS.map(({ name }) => name),
    'lost processes',
    'processes that disagree',
  ])
})

interface Trigger {
  readonly check: string
  readonly status: 'warn' | 'critical'
  readonly value: RegExp
  cause(): Promise<unknown>
  undo(): Promise<unknown>
}

const KEY = 'tp:idempotency:{default:a}'
/** Where processes report. */
const REPORTS = 'tp:operations:'
const sockets: Socket[] = []

const triggers: Trigger[] = [
  {
    check: 'memory',
    status: 'critical',
    value: /% of maxmemory$/,
    cause: () => set('maxmemory', '1mb'),
    undo: () => set('maxmemory', '100mb'),
  },
  {
    check: 'eviction policy',
    status: 'critical',
    value: /^allkeys-lru$/,
    cause: () => set('maxmemory-policy', 'allkeys-lru'),
    undo: () => set('maxmemory-policy', 'noeviction'),
  },
  {
    check: 'eviction policy',
    status: 'critical',
    value: /^volatile-ttl$/,
    cause: () => set('maxmemory-policy', 'volatile-ttl'),
    undo: () => set('maxmemory-policy', 'noeviction'),
  },
  {
    check: 'evictions',
    status: 'warn',
    value: /^[1-9]\d* since/,
    async cause() {
      await server.send('EVAL', "for i = 1, 9 do redis.call('SET', 'x' .. i, 'y') end", '0')
      await set('maxmemory-policy', 'allkeys-random')
      await set('maxmemory', '1')
      await server.send('SET', 'x', 'y')
    },
    async undo() {
      await set('maxmemory', '100mb')
      await set('maxmemory-policy', 'noeviction')
      await server.send('CONFIG', 'RESETSTAT')
    },
  },
  {
    check: 'hit rate',
    status: 'warn',
    value: /% of \d{4} reads$/,
    cause: () => server.send('EVAL', "for i = 1, 2000 do redis.call('GET', 'none' .. i) end", '0'),
    undo: () => server.send('CONFIG', 'RESETSTAT'),
  },
  {
    check: 'slow log',
    status: 'warn',
    value: /^1 in the last hour, at most \d+ ms \(DEBUG\)$/,
    async cause() {
      await set('slowlog-log-slower-than', '20000')
      await server.send('DEBUG', 'SLEEP', '0.05')
      await set('slowlog-log-slower-than', '-1')
    },
    undo: () => server.send('SLOWLOG', 'RESET'),
  },
  {
    check: 'keys without TTL',
    status: 'warn',
    value: /^1 of 1 sampled, like tp:limit:\{a\}:b/,
    cause: () => server.send('SET', 'tp:limit:{a}:b', 'x'),
    undo: () => server.send('DEL', 'tp:limit:{a}:b'),
  },
  {
    check: 'stuck idempotency keys',
    status: 'warn',
    value: /^1, like tp:idempotency:\{default:a\}$/,
    async cause() {
      const now = Date.now()
      await server.send(
        'HSET',
        KEY,
        'f',
        'p'.padEnd(60, 'x'),
        'l',
        `${now + 60_000} ${now - 120_000} 1 1`,
      )
      await server.send('EXPIRE', KEY, '100')
    },
    undo: () => server.send('DEL', KEY),
  },
  {
    check: 'persistence',
    status: 'warn',
    value: /^none$/,
    cause: () => set('appendonly', 'no'),
    undo: () => set('appendonly', 'yes'),
  },
  {
    check: 'lost processes',
    status: 'warn',
    value: /^1 of 1 web-1\/7$/,
    async cause() {
      await server.send(
        'ZADD',
        `${REPORTS}processes:{all}`,
        String(Date.now() - 60_000),
        'web-1/7/x',
      )
      await server.send('EXPIRE', `${REPORTS}processes:{all}`, '100')
    },
    undo: () => server.send('DEL', `${REPORTS}processes:{all}`),
  },
  {
    check: 'processes that disagree',
    status: 'warn',
    value: /^rateLimit api$/,
    async cause() {
      for (const [id, limit] of [
        ['a', 10],
        ['b', 20],
      ] as const) {
        const mount = { kind: 'rateLimit', name: 'api', settings: { policies: [{ limit }] } }
        const text = JSON.stringify({ version: null, mounts: [mount] })
        await server.send('ZADD', `${REPORTS}processes:{all}`, String(Date.now()), `web/${id}`)
        await server.send('HSET', `${REPORTS}process:{all}:web%2f${id}`, 'description', id)
        await server.send('SET', `${REPORTS}description:{all}:${id}`, text)
      }
    },
    undo: () => server.send('FLUSHALL'),
  },
  {
    check: 'clients',
    status: 'critical',
    value: /^\d+ of 20, /,
    async cause() {
      await set('maxclients', '20')
      for (let i = 0; i < 18; i++) {
        const socket = connect(server.port, '127.0.0.1')
        socket.on('error', () => {})
        await new Promise<void>((resolve) => socket.once('connect', resolve))
        sockets.push(socket)
      }
    },
    async undo() {
      for (const socket of sockets.splice(0)) socket.destroy()
      await set('maxclients', '1000')
      await server.send('CONFIG', 'RESETSTAT')
    },
  },
]

describe.each(triggers)('$check: $status', ({ check, status, value, cause, undo }) => {
  it('is found, with a remedy, and is gone afterwards', async () => {
    await cause()
    try {
      const { code, findings, of } = await diagnose()
      expect(of(check)).toMatchObject({ status, value: expect.stringMatching(value) })
      expect(of(check).remedy).toMatch(/^[A-Z].*[.]$/s)
      expect(code).toBe(findings.some((each) => each.status === 'critical') ? 1 : 0)
    } finally {
      await undo()
    }
    const { of } = await diagnose()
    expect(of(check)).toMatchObject({ status: 'ok' })
    expect(of(check).remedy).toBeUndefined()
  })
})

describe('what a server says that is old, fragmented, slow, or has another clock', () => {
  const through = (
    rewrite: (text: string) => string,
  ): Promise<Awaited<ReturnType<typeof diagnose>>> => {
    proxy.set({ rewrite: (piece) => Buffer.from(rewrite(piece.toString('latin1')), 'latin1') })
    return diagnose(`redis://app:pw@127.0.0.1:${proxy.port}`).finally(() => proxy.heal())
  }

  it('a version before 7.0 is critical', async () => {
    const { of } = await through((text) => text.replace('redis_version:7', 'redis_version:6'))
    expect(of('version')).toMatchObject({
      status: 'critical',
      value: expect.stringMatching(/^Redis 6/),
    })
  })

  it('a process that is larger than what it holds is fragmented', async () => {
    const { of } = await through((text) =>
      text.replace(/(?<=\r\nused_memory_rss:)\d+/, (digits) => '9'.repeat(digits.length)),
    )
    expect(of('fragmentation')).toMatchObject({ status: 'warn' })
  })

  it('a failed snapshot is critical', async () => {
    const { of } = await through((text) =>
      text.replace('rdb_last_bgsave_status:ok', 'rdb_last_bgsave_status:er'),
    )
    expect(of('persistence')).toMatchObject({ status: 'critical' })
  })

  it('PINGs that take long are found', async () => {
    proxy.set({ latency: 13 })
    const { of } = await diagnose(`redis://app:pw@127.0.0.1:${proxy.port}`).finally(() =>
      proxy.heal(),
    )
    expect(of('connection').status).not.toBe('ok')
    const check = SERVER_CHECKS.find(({ name }) => name === 'connection')!
    const facts = (ms: number) => ({ pings: { value: [ms, ms, ms] } }) as unknown as ServerFacts
    expect([1, 9, 11, 60].map((ms) => check.check(facts(ms), 0).status)).toEqual([
      'ok',
      'ok',
      'warn',
      'critical',
    ])
  })

  it.each([
    [0, 'ok'],
    [2000, 'warn'],
    [-2000, 'warn'],
    [60_000, 'critical'],
  ])('a clock that differs by %d ms: %s', async (ms, status) => {
    const { of } = await diagnose(url, { now: () => Date.now() + ms })
    expect(of('clock skew').status).toBe(status)
  })
})

describe('whom a server trusts', () => {
  it('the user default is found', async () => {
    const { of } = await diagnose(`redis://127.0.0.1:${server.port}`)
    expect(of('ACL user')).toMatchObject({ status: 'warn', value: 'default' })
  })

  it('a user who lacks a command of a feature is found, and the command is named', async () => {
    await server.send(
      'ACL',
      'SETUSER',
      'poor',
      'reset',
      'on',
      '>pw',
      '~*',
      '&*',
      '+@all',
      '-hset',
      '-mget',
    )
    const { of } = await diagnose(`redis://poor:pw@127.0.0.1:${server.port}`)
    expect(of('permissions')).toMatchObject({
      status: 'warn',
      value: expect.stringMatching(/rate limits.*: \+mget \+hset; sessions: \+mget/),
    })
  })

  it('a user who may not look is told the permission for each check, and gets the others', async () => {
    await server.send(
      'ACL',
      'SETUSER',
      'blind',
      'reset',
      'on',
      '>pw',
      '~*',
      '+info',
      '+ping',
      '+scan',
      '+dbsize',
    )
    const { findings, code } = await diagnose(`redis://blind:pw@127.0.0.1:${server.port}`)
    const skipped = findings.filter(({ status }) => status === 'skip')
    expect(Object.fromEntries(skipped.map(({ check, value }) => [check, value]))).toEqual({
      'slow log': 'the Redis user lacks +slowlog|get',
      'clock skew': 'the Redis user lacks +time',
      'ACL user': 'the Redis user lacks +acl|whoami',
      permissions: 'the Redis user lacks +acl|dryrun',
      'cluster state': 'does not apply',
      'lost processes': expect.stringContaining('+time'),
      'processes that disagree': expect.stringContaining('+time'),
    })
    // What was not looked at may be wrong: a monitor that goes by the code must not read 0.
    expect(code).toBe(6)
  })

  it('a connection that leaves the machine without TLS is found', () => {
    const { check } = SERVER_CHECKS.find(({ name }) => name === 'TLS')!
    const of = (address: string, usesTls: boolean): string =>
      check({ address, usesTls } as ServerFacts, 0).status
    expect(['10.0.0.7:6379', 'redis.example:6379'].map((at) => of(at, false))).toEqual([
      'warn',
      'warn',
    ])
    expect(
      ['127.0.0.1:6379', 'localhost:6379', '::1:6379', '/run/redis.sock'].map((at) =>
        of(at, false),
      ),
    ).toEqual(['ok', 'ok', 'ok', 'ok'])
    expect(of('10.0.0.7:6379', true)).toBe('ok')
  })

  it('TLS is recognised', async () => {
    await using tls = await startTlsRedis()
    const { code, data } = await answer(['doctor'], {
      env: { TURNPIKE_REDIS_URL: tls.url, REDIS_SSL_CA_CERTS: tls.caFile },
    })
    expect(code).toBe(0)
    expect(data.findings.find(({ check }: Shown) => check === 'TLS')).toMatchObject({
      status: 'ok',
      value: 'encrypted',
    })
  })
})

it('a replica that has lost its master is critical', async () => {
  const replica = await startRedis({ args: ['--replicaof', '127.0.0.1', '1'] })
  try {
    const { of, code } = await diagnose(replica.url)
    expect(of('replication')).toMatchObject({ status: 'critical' })
    expect(code).toBe(1)
  } finally {
    await replica.stop()
  }
})

it('a Cluster without all its slots is critical, and is well when it has them', async () => {
  const node = await startRedis({
    args: ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1', '--appendonly', 'yes'],
  })
  try {
    await node.send('CLUSTER', 'ADDSLOTSRANGE', '0', '16000')
    const broken = await diagnose(node.url)
    expect(broken.of('cluster state')).toMatchObject({
      status: 'critical',
      value: expect.stringContaining('16001 slots assigned'),
    })
    expect(broken.code).toBe(1)
    await node.send('CLUSTER', 'ADDSLOTSRANGE', '16001', '16383')
    while (!(await node.send('CLUSTER', 'INFO')).includes('cluster_state:ok'))
      await new Promise((resolve) => setTimeout(resolve, 20))
    expect((await diagnose(node.url)).of('cluster state')).toMatchObject({ status: 'ok' })
  } finally {
    await node.stop()
  }
})

it('a tool that receives the arguments of commands is found', () => {
  expect(checkApmTools().status).toBe('ok')
  const leak = channel('tracing:ioredis:command:start')
  const listener = (): void => {}
  leak.subscribe(listener)
  expect(checkApmTools()).toMatchObject({ status: 'warn', remedy: expect.any(String) })
  leak.unsubscribe(listener)
  expect(checkApmTools().status).toBe('ok')
})

it('every threshold has a value on each side', () => {
  for (const each of Object.values(THRESHOLDS)) {
    const step = each.bad === 'above' ? 1 : -1
    expect(severityOf(each, each.warn)).toBe('ok')
    expect(severityOf(each, each.warn + step * 1e-6)).toBe('warn')
    if (each.critical !== undefined)
      expect(severityOf(each, each.critical + step * 1e-6)).toBe('critical')
  }
})

describe('a person', () => {
  it('reads what is wrong and what to do, and with --all what is right', async () => {
    await server.send('SET', 'tp:limit:{\u001b[2J}:b', 'x')
    await set('maxmemory-policy', 'allkeys-lru')
    try {
      const short = await turnpike(['doctor', '--redis', url], { hasColors: true })
      expect(short.code).toBe(1)
      expect(short.stdout).toMatch(
        /CRITICAL +eviction policy .*allkeys-lru[^]*maxmemory-policy noeviction/,
      )
      expect(short.stdout).not.toContain('\u001b[2J')
      expect(short.stdout).not.toMatch(/^OK /m)
      expect(short.stdout).not.toContain('pw')
      const long = await turnpike(['doctor', '--redis', url, '--all'])
      expect(long.stdout).toMatch(/^OK +version .*: Redis 7/m)
      expect(long.stdout).not.toContain('\u001b')
    } finally {
      await set('maxmemory-policy', 'noeviction')
      await server.send('FLUSHALL')
    }
  })

  it('learns which prefixes there are where the right one has no key', async () => {
    await server.send('SET', 'shop~2:limit:{a}:b', 'x', 'EX', '100')
    try {
      const wrong = await turnpike(['doctor', '--redis', url])
      expect(wrong.stderr).toBe(
        'There is no key of turnpike under the prefix tp. Found: shop~2. Pass one: --prefix shop --key-version 2.',
      )
      const right = await turnpike([
        'doctor',
        '--redis',
        url,
        '--prefix',
        'shop',
        '--key-version',
        '2',
      ])
      expect(right.stderr).toBe('')
    } finally {
      await server.send('FLUSHALL')
    }
    expect((await turnpike(['doctor', '--redis', url])).stderr).toMatch(/nor under another one/)
  })
})

describe('where Redis is', () => {
  it('is said by the options or the environment', async () => {
    const plain = `redis://127.0.0.1:${server.port}`
    for (const env of [
      { REDIS_URL: plain },
      { TURNPIKE_REDIS_URL: plain, REDIS_URL: 'redis://127.0.0.1:1' },
    ])
      expect((await answer(['doctor'], { env })).data.findings).toHaveLength(
        SERVER_CHECKS.length + 2,
      )
    const env = { REDIS_URL: plain, REDIS_USERNAME: 'app', REDIS_PASSWORD: 'wrong' }
    expect((await turnpike(['doctor'], { env })).code).toBe(4)
    // What belongs to the variable does not go to another server.
    expect((await turnpike(['doctor', '--redis', plain], { env })).code).toBe(0)
  })

  it.each([
    [[], 2, 'Where is Redis?'],
    [['--redis', 'localhost:6379'], 2, "Did you mean 'redis://localhost:6379'?"],
    [['--redis', 'redis://127.0.0.1:1'], 3, 'Nothing listens'],
    [['--redis', 'redis://127.0.0.1:1', '--app', 'x.mjs'], 2, 'exclude each other'],
    [['--app', 'nowhere.mjs'], 2, 'there is no file nowhere.mjs'],
    [['--redis', 'redis://127.0.0.1:1', '--prefix', 'a b'], 2, '--prefix must be'],
    [['--redis', 'redis://127.0.0.1:1', '--layout', 'tables'], 2, '--layout must be'],
  ])('%j ends with %d: %s', async (args, code, message) => {
    const { stdout, stderr, ...rest } = await turnpike(['doctor', ...args])
    expect({ ...rest, stdout }).toEqual({ code, stdout: '' })
    expect(stderr).toContain(message)
    expect((await answer(['doctor', ...args])).error.message).toBe(stderr)
  })

  it.each([
    [
      '-DENIED Redis is running in protected mode because no password is set for the default user.\r\n',
      'In protected mode, a server without a password refuses other machines',
    ],
    ['HTTP/1.1 400 Bad Request\r\n\r\n', "does not speak Redis's protocol"],
    ['-NOAUTH HELLO must be called with the client already authenticated.\r\n', 'none was given'],
  ])('is told apart from a server that answers %j', async (reply, message) => {
    const other = createServer((socket) => {
      socket.on('error', () => {})
      socket.end(reply)
    }).listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const { code, stderr } = await turnpike(['doctor', '--redis', `redis://127.0.0.1:${port}`])
    other.close()
    expect(stderr).toContain(message)
    expect(stderr).not.toMatch(/Please report|\.\./)
    expect(code).toBe(reply.startsWith('-NOAUTH') ? 4 : 3)
  })

  it('is told apart from a server that accepts connections and says nothing', () => {
    const timedOut = Object.assign(new Error('connect ETIMEDOUT'), { code: 'ETIMEDOUT' })
    expect(remedyForSilence(undefined, false, false)).toContain('does not reply. It may be frozen')
    expect(remedyForSilence(timedOut, true, true)).toContain('use redis:// instead of rediss://')
    expect(remedyForSilence(new Error('other'), false, true)).toBeUndefined()
  })

  it('never shows a password', async () => {
    const { stdout, stderr } = await turnpike([
      'doctor',
      '--redis',
      'redis://app:hunter2@127.0.0.1:1',
    ])
    const wrong = await turnpike([
      'doctor',
      '--redis',
      `redis://app:hunter2@127.0.0.1:${server.port}`,
    ])
    expect(wrong.code).toBe(4)
    expect(stdout + stderr + wrong.stdout + wrong.stderr).not.toContain('hunter2')
  })
})
