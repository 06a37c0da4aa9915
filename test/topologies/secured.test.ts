/** Redis behind TLS, and one that forbids things: what works, and what is reported otherwise. */
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { turnpike, type Turnpike, type TurnpikeOptions } from '../../src/node.ts'
import { startRedis } from '../../src/testing.ts'
import { startCluster } from '../support/cluster.ts'
import { makeCertificate, startTlsRedis } from '../support/tls.ts'
import { until } from '../support/until.ts'

function open(redis: NonNullable<TurnpikeOptions<any>['redis']>): Turnpike<any, any> & {
  warnings: string[]
} {
  const tp = turnpike({ redis, prefix: 'shop', commandTimeout: 3000 })
  const warnings: string[] = []
  tp.on('warning', ({ message }) => warnings.push(message))
  onTestFinished(() => tp.close())
  return Object.assign(tp, { warnings })
}

const limit = { limit: 5, window: '1m', fail: 'closed' } as const

describe('TLS', () => {
  it('is spoken where the CA is trusted: by option, and by environment', async () => {
    await using redis = await startTlsRedis()
    const tp = open({ url: redis.url, tls: { ca: redis.ca } })
    await tp.ready('5s')
    expect((await tp.limiter('jobs', limit).consume('ann')).source).toBe('store')
    expect(tp.warnings).toEqual([])

    const file = join(tmpdir(), `turnpike-ca-${process.pid}.pem`)
    await writeFile(file, redis.ca)
    vi.stubEnv('REDIS_URL', redis.url)
    vi.stubEnv('REDIS_SSL_CA_CERTS', file)
    onTestFinished(() => void vi.unstubAllEnvs())
    await using byEnvironment = turnpike.fromEnv({ prefix: 'shop' })
    await byEnvironment.ready('5s')
    expect(byEnvironment.status().status).toBe('ok')
  })

  it.each([
    ['with a wrong CA', () => ({ ca: makeCertificate().cert })],
    ['without a CA', () => ({})],
  ])('%s: ready() rejects, and the remedy is reported', async (_name, tls) => {
    await using redis = await startTlsRedis()
    const tp = open({ url: redis.url, tls: tls() })
    await expect(tp.ready('1s')).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
    expect(tp.warnings).toEqual([expect.stringContaining('REDIS_SSL_CA_CERTS')])
    expect(tp.status()).toMatchObject({ status: 'down', warnings: tp.warnings })
  })
})

describe('a server that forbids commands', () => {
  it.each([
    ['EVALSHA', /unknown command 'EVALSHA'.*Redis 7\.0/i],
    ['TIME', /unknown command 'TIME'.*Redis 7\.0/i],
    // Redis does not name the command inside a script.
    ['GETRANGE', /'applyPolicies'.*renamed or disabled.*docs\/store\.md/],
  ])('is no outage: a renamed %s is reported with its remedy', async (command, message) => {
    await using redis = await startRedis({ args: ['--rename-command', command, 'hidden'] })
    const tp = open(redis.url)
    const limiter = tp.limiter('jobs', { ...limit, fail: 'open' })
    await expect(limiter.consume('ann')).rejects.toMatchObject({
      code: 'TP_COMMAND',
      message: expect.stringMatching(message),
    })
  })

  it('lets a Cluster be used by a user who may do the least, and what ioredis asks a Cluster', async () => {
    await using cluster = await startCluster({ replicas: 0 })
    const rules =
      '~shop[:~]* &shop[:~]* +evalsha +eval +time +get +getrange +set +setrange +del +unlink +pttl +pexpire +hget +hset +hgetall +hmget +zadd +zrange +zremrangebyrank +zremrangebyscore +publish +subscribe +unsubscribe +info +ping +cluster|slots +cluster|info +client|setname'
    for (const node of cluster.nodes)
      await node.send('ACL', 'SETUSER', 'app', 'reset', 'on', '>pw', ...rules.split(' '))
    const tp = open({
      cluster: cluster.startup,
      options: { redisOptions: { username: 'app', password: 'pw' } },
    })
    await tp.ready('5s')
    const limiter = tp.limiter('jobs', { ...limit, denyCache: true })
    for (const user of ['ann', 'bob', 'cleo', 'dan', 'eve'])
      expect((await limiter.consume(user)).source).toBe('store')
    await until('all is well', () => tp.status().status === 'ok')
    for (const node of cluster.nodes) expect(await node.send('ACL', 'LOG')).toMatch(/^\*0/)
  })
})
