/** A Redis behind a proxy, new for each test of a file. */
import { afterEach, beforeEach } from 'vitest'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { startFaultProxy, type FaultProxy } from './fault-proxy.ts'
import { expectEveryKeyToExpire } from './ttl.ts'

export interface ProxiedRedis {
  redis: RedisServer
  proxy: FaultProxy
}

/** Starts them before each test, and ends them after it. Every key that a test leaves must expire. */
export function eachProxiedRedis(assign: (started: ProxiedRedis) => void): void {
  let started: ProxiedRedis
  beforeEach(async () => {
    const redis = await startRedis()
    started = { redis, proxy: await startFaultProxy(redis.port) }
    assign(started)
  })
  afterEach(async () => {
    const { proxy, redis } = started
    redis.thaw()
    await proxy.close()
    await expectEveryKeyToExpire(redis)
    await redis.stop()
  })
}
