/** Calls that Redis answers late are reported with what made them late. */
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { EventBus, type EventMap } from '../../src/events.ts'
import { RedisStore } from '../../src/store/redis-store.ts'
import { SlowCalls, type SlowCall } from '../../src/store/slow-calls.ts'
import { operation, type Operation } from '../../src/store/store.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { startCluster } from '../support/cluster.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'
import { until } from '../support/until.ts'

describe('the cause of a slow call', () => {
  /** Calls that are slow from 50 ms on. Each reply: [operation, ms, when it arrives, ms blocked]. */
  function reportsOf(
    ...replies: [operation: string, ms: number, at: number, blocked?: number][]
  ): SlowCall[] {
    const reports: SlowCall[] = []
    const calls = new SlowCalls(50, (call) => reports.push(call))
    for (const [name, ms, at, blocked = 0] of replies)
      if (calls.concerns(ms)) calls.record(name, ms, at, blocked)
    return reports
  }

  it('is the process whose event loop was blocked for half of it', () => {
    expect(reportsOf(['a', 60, 100, 30])).toEqual([
      { operation: 'a', ms: 60, cause: 'process', count: 1 },
    ])
    expect(reportsOf(['a', 60, 100, 29])).toEqual([])
  })

  it('is the server if the next call is slow, too', () => {
    expect(reportsOf(['a', 60, 100], ['b', 70, 180])).toEqual([
      { operation: 'a', ms: 60, cause: 'server', count: 2 },
    ])
  })

  it('is the call if the next one is fast', () => {
    expect(reportsOf(['a', 60, 100], ['b', 1, 180])).toEqual([
      { operation: 'a', ms: 60, cause: 'call', count: 1 },
    ])
  })

  it('is not judged by calls that were held up by it', () => {
    expect(reportsOf(['a', 80, 100], ['b', 79, 100], ['c', 20, 101], ['d', 1, 180])).toEqual([
      { operation: 'a', ms: 80, cause: 'call', count: 2 },
    ])
  })

  it('is not the server if the next call was slow because the event loop was blocked', () => {
    expect(reportsOf(['a', 60, 100], ['b', 90, 300, 80], ['c', 1, 11_000])).toEqual([
      { operation: 'b', ms: 90, cause: 'process', count: 2 },
      { operation: 'a', ms: 60, cause: 'call', count: 0 },
    ])
  })

  it('is reported once in ten seconds, with the number of slow calls', () => {
    const replies = Array.from({ length: 300 }, (_, i): [string, number, number] => [
      'a',
      60,
      100 + i * 100,
    ])
    const reports = reportsOf(...replies)
    expect(reports.map(({ cause }) => cause)).toEqual(['server', 'server', 'server'])
    expect(reports.map(({ count }) => count)).toEqual([2, 100, 100])
  })

  it('fast calls are not looked at', () => {
    const calls = new SlowCalls(50, () => {})
    expect([calls.concerns(49), calls.concerns(50)]).toEqual([false, true])
  })
})

describe('Redis', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedis()
  })
  afterEach(() => expectEveryKeyToExpire(server))
  afterAll(() => server.stop())

  const never = (): never => {
    throw new Error('only for Redis')
  }
  const quick: Operation<number> = operation({ name: 'quick', lua: 'return 1', memory: never })
  /** Keeps the server busy for ARGV[1] ms. */
  const heavy: Operation<number> = operation({
    name: 'heavy',
    lua: `local function now() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end
      local start = now()
      while now() - start < tonumber(ARGV[1]) do end
      return 1`,
    memory: never,
  })

  /** A store whose calls are slow from 300 ms on. */
  async function opened(source: ConstructorParameters<typeof RedisStore>[0]['source']) {
    const events = new EventBus('')
    const seen: EventMap['slow'][] = []
    events.on('slow', (event) => seen.push(event))
    const options = { name: 'redis', commandTimeout: 600, maxInFlight: 100, events }
    const store = new RedisStore({ source, ...options })
    onTestFinished(() => store.close())
    await store.ready()
    await store.run(quick, ['slow:{a}'], [])
    return { store, seen }
  }

  /** Returns what is reported of calls. A loaded machine blocks any event loop: then they are made again. */
  async function reportedAs(
    cause: EventMap['slow']['cause'],
    play: (store: RedisStore) => Promise<unknown>,
    source: Parameters<typeof opened>[0] = server.url,
  ): Promise<EventMap['slow'][]> {
    for (let attempt = 1; ; attempt++) {
      const { store, seen } = await opened(source)
      await play(store).catch(() => {})
      if (seen[0]?.cause === cause || attempt === 6) return seen
    }
  }

  it('an event loop that is blocked is the process', async () => {
    const seen = await reportedAs('process', async (store) => {
      const reply = store.run(quick, ['slow:{a}'], [])
      const end = performance.now() + 350
      while (performance.now() < end);
      await reply
    })
    expect(seen).toEqual([
      { store: 'redis', operation: 'quick', ms: expect.any(Number), cause: 'process', count: 1 },
    ])
  })

  it('a long script is the call', async () => {
    const seen = await reportedAs('call', async (store) => {
      await store.run(heavy, ['slow:{a}'], [320])
      await store.run(quick, ['slow:{a}'], [])
    })
    expect(seen).toMatchObject([{ operation: 'heavy', cause: 'call', count: 1 }])
    expect(seen[0]!.ms).toBeGreaterThanOrEqual(300)
  })

  it('a slow network is the server', async () => {
    const proxy = await startFaultProxy(server.port)
    onTestFinished(() => proxy.close())
    const play = async (store: RedisStore): Promise<void> => {
      proxy.set({ latency: 170 })
      await store.run(quick, ['slow:{a}'], [])
      await store.run(quick, ['slow:{a}'], [])
    }
    const seen = await reportedAs(
      'server',
      (store) => play(store).finally(() => proxy.heal()),
      proxy.url,
    )
    expect(seen).toMatchObject([{ operation: 'quick', cause: 'server', count: 2 }])
  })

  it('a call that is not answered in time is not slow: its failure rule is applied', async () => {
    const { store, seen } = await opened(server.url)
    server.freeze()
    onTestFinished(() => server.thaw())
    await expect(store.run(quick, ['slow:{a}'], [])).rejects.toMatchObject({
      code: 'TP_UNAVAILABLE',
    })
    server.thaw()
    await until('it answers', () => store.run(quick, ['slow:{a}'], []).catch(() => undefined))
    expect(seen).toEqual([])
  })

  it('on a Cluster the node is named', async () => {
    await using cluster = await startCluster({ replicas: 0 })
    const play = async (store: RedisStore): Promise<void> => {
      await store.run(heavy, ['slow:{a}'], [320])
      await store.run(quick, ['slow:{a}'], [])
    }
    const seen = await reportedAs('call', play, { cluster: cluster.startup })
    expect(seen).toMatchObject([
      { cause: 'call', node: expect.stringMatching(/^127\.0\.0\.1:\d+$/) },
    ])
  }, 60_000)
})
