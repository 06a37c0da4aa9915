/** Tools that trace ioredis receive names and durations of turnpike's commands, but nothing that they carry. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import { Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { turnpike } from '../../src/node.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { startCluster } from '../support/cluster.ts'

const CANARY = 'canary-Zq3x'
const CHANNEL = 'tracing:ioredis:command:start'

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

/** Collects what a tracer receives until the test ends. */
function trace(): Traced[] {
  const traced: Traced[] = []
  const listener = (message: unknown): void => void traced.push(message as never)
  subscribe(CHANNEL, listener)
  onTestFinished(() => void unsubscribe(CHANNEL, listener))
  return traced
}

/** Uses an instance with Redis's cache of scripts emptied, so that errors are traced as well. */
async function use(redis: object | string, options: object = {}): Promise<string[]> {
  await using tp = turnpike({ redis: redis as string, commandTimeout: '5s', ...options })
  const warnings: string[] = []
  tp.on('warning', ({ message }) => warnings.push(message))
  await tp.ready()
  await server.send('SCRIPT', 'FLUSH')
  await tp.data.set(CANARY, { secret: CANARY }, { ttl: '1m' })
  await tp.data.set(`${CANARY}2`, CANARY.repeat(10_000), { ttl: '1m' })
  expect(await tp.data.get(CANARY)).toEqual({ secret: CANARY })
  await tp.limiter('traced', { limit: 5, window: '1m' }).consume(CANARY)
  return warnings
}

interface Traced {
  command: string
  args: string[]
  error?: Error
}

/** Fails if anything that a command carried is in reach of a tracer. */
function expectNoData(traced: readonly Traced[]): void {
  expect(traced.map(({ command }) => command)).toContain('evalsha')
  expect(
    inspect(traced, { depth: Infinity, getters: true, maxStringLength: Infinity }),
  ).not.toMatch(/canary|63 61 6e 61 72 79/)
  expect(traced.find(({ error }) => error)?.error?.message).toMatch(/^NOSCRIPT/)
}

describe('a tracer receives no argument, reply or error with arguments', () => {
  it('of a URL', async () => {
    const traced = trace()
    expect(await use(server.url)).toEqual([])
    expectNoData(traced)
  })

  it.each([
    ['5', () => new Redis5(server.url, { lazyConnect: true })],
    ['6', () => new Redis(server.url, { lazyConnect: true })],
  ])('of a client of ioredis %s, which turnpike duplicates', async (_version, create) => {
    const client = create()
    onTestFinished(() => client.disconnect())
    const traced = trace()
    expect(await use(client)).toEqual([])
    expectNoData(traced)
  })

  it('of a Cluster', async () => {
    await using cluster = await startCluster({ replicas: 0 })
    const traced = trace()
    expect(await use({ cluster: cluster.startup })).toEqual([])
    expectNoData(traced)
  })
})

describe('a client that is used itself keeps its own behavior', () => {
  const reused = (): Redis => {
    const client = new Redis(server.url)
    onTestFinished(() => client.disconnect())
    return client
  }

  it('so a tracer is one warning, which names the remedy', async () => {
    const traced = trace()
    const warnings = await use(reused(), { reuse: true })
    expect(JSON.stringify(traced)).toContain(CANARY)
    expect(warnings.filter((each) => each.includes('ioredis:command'))).toEqual([
      expect.stringMatching(/session data and cached responses\. Omit reuse: true/),
    ])
  })

  it('without a tracer there is no warning', async () => {
    expect((await use(reused(), { reuse: true })).join()).not.toContain('ioredis:command')
  })
})
