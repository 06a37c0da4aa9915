/** By default a process writes one line when Redis goes away and one when it is back, and nothing else. */
import type { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { defaultLogger, logAvailability } from '../../src/availability-log.ts'
import { manualClock } from '../../src/clock.ts'
import { EventBus } from '../../src/events.ts'
import { Availability } from '../../src/store/availability.ts'
import { turnpike } from '../../src/node.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { startScript } from '../support/child.ts'
import { startCluster } from '../support/cluster.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { startSentinel } from '../support/sentinel.ts'
import { until } from '../support/until.ts'

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

const limit = { limit: 5, window: '1m' } as const
/** How long Redis is away under load, in ms. */
const OUTAGE = Number(process.env.OUTAGE_MS ?? 1500)

function opened(redis: string | Redis, options: object = {}) {
  const logger = { warn: vi.fn<(line: string) => void>(), info: vi.fn<(line: string) => void>() }
  const tp = turnpike({ redis, logger, ...options })
  onTestFinished(() => tp.close())
  const away = (): string[] => logger.warn.mock.calls.map(([line]) => line)
  const back = (): string[] => logger.info.mock.calls.map(([line]) => line)
  return { tp, logger, away, back }
}

describe('one line when Redis goes away, and one when it is back', () => {
  it('killed while idle', async () => {
    await using own = await startRedis()
    const { tp, away, back } = opened(own.url)
    await tp.ready()
    await own.kill()
    await until('it is away', () => away().length > 0)
    await new Promise((resolve) => setTimeout(resolve, 1500))
    await own.restart()
    await until('it is back', () => back().length > 0)
    expect(away()).toEqual([
      expect.stringMatching(/^turnpike: Redis is away: .*ECONNREFUSED.*\. Until it is back/),
    ])
    expect(back()).toEqual([expect.stringMatching(/^turnpike: Redis is back after \d+\.\d s\.$/)])
  })

  it('frozen, under load: with the number of times that each rule applied', async () => {
    const { tp, away, back } = opened(server.url)
    await tp.ready()
    const [local, closed] = [
      tp.limiter('local', limit),
      tp.limiter('closed', { ...limit, fail: 'closed' }),
    ]
    await local.consume('a')
    server.freeze()
    await until('it is away', async () => {
      await local.consume('a')
      return away().length > 0
    })
    for (let i = 0; i < 3; i++) await local.consume('a')
    for (let i = 0; i < 2; i++) await closed.consume('a')
    server.thaw()
    await until('it is back', () => back().length > 0)
    expect(away()).toHaveLength(1)
    expect(back()).toEqual([
      expect.stringMatching(/Failure rules applied: .*local [3-9].*closed 2/),
    ])
  })

  it('not while the process itself stands still, for example while it loads modules', async () => {
    const changes: string[] = []
    let isWell = false
    const availability = new Availability({
      isWell: () => isWell,
      isOpen: () => false,
      reason: () => 'connecting',
      onChange: (type) => changes.push(type),
    })
    onTestFinished(() => availability.close())
    availability.update()
    const began = performance.now()
    while (performance.now() - began < 600);
    // The timer that has run out meanwhile.
    await new Promise((resolve) => setImmediate(resolve))
    availability.update()
    isWell = true
    availability.update()
    expect(changes).toEqual([])
  })

  it('absent at the start', async () => {
    await using own = await startRedis()
    await own.kill()
    const { away, back } = opened(own.url)
    await until('it is away', () => away().length > 0)
    await own.restart()
    await until('it is back', () => back().length > 0)
    expect([away().length, back().length]).toEqual([1, 1])
  })

  it('a server of one area is named', async () => {
    await using own = await startRedis()
    const { tp, away } = opened(server.url, { stores: { session: { redis: own.url } } })
    await tp.ready()
    tp.session({ secret: 'a secret that is long enough 123' })
    await until('it is connected', async () =>
      /connected_clients:[2-9]/.test(await own.send('INFO')),
    )
    await own.kill()
    await until('it is away', () => away().length > 0)
    expect(away()[0]).toContain('Redis (session) is away')
  })

  it('a connection that is only replaced writes no line', async () => {
    const proxy = await startFaultProxy(server.port)
    onTestFinished(() => proxy.close())
    const { tp, away, back } = opened(proxy.url)
    await tp.ready()
    proxy.reset()
    await until('it is well again', () => tp.status().status === 'ok')
    await new Promise((resolve) => setTimeout(resolve, 700))
    expect([away(), back()]).toEqual([[], []])
  })
})

it('logger: false writes nothing', async () => {
  await using own = await startRedis()
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  onTestFinished(() => write.mockRestore())
  const { tp } = opened(own.url, { logger: false })
  const seen: unknown[] = []
  tp.on('availability', (event) => seen.push(event))
  await tp.ready()
  await own.kill()
  await until('it is away', () => seen.length > 0)
  expect(seen).toEqual([
    { store: 'redis', type: 'away', reason: expect.stringContaining('ECONNREFUSED'), awayMs: 0 },
  ])
  expect(write).not.toHaveBeenCalled()
})

it.each([true, 'yes', {}, { warn: 'no' }])('logger: %j is refused', (logger) => {
  expect(() => turnpike({ redis: 'memory', logger: logger as never })).toThrow(
    /logger must be false, or a logger with the method warn/,
  )
})

describe('while Redis is away', () => {
  function away() {
    const clock = manualClock()
    const events = new EventBus('')
    const lines: string[] = []
    const end = logAvailability(events, { warn: (line) => lines.push(line) }, clock)
    const change = (type: 'away' | 'back', awayMs = 0): void =>
      events.emit('availability', { store: 'redis', type, reason: 'no reply', awayMs })
    const refuse = (): void =>
      events.emit('unavailable', {
        feature: 'cache',
        name: 'pages',
        reason: 'breaker',
        uncertain: false,
        rule: 'open',
      })
    return { clock, lines, end, change, refuse }
  }

  it('one line after 1, 5 and 30 minutes says so, and no other', async () => {
    const { clock, lines, change, refuse } = away()
    change('away')
    refuse()
    for (let minute = 1; minute <= 120; minute++) {
      await clock.advance(60_000)
      refuse()
    }
    change('back', 7_200_000)
    expect(lines).toEqual([
      'turnpike: Redis is away: no reply. Until it is back, the failure rules apply.',
      'turnpike: Redis is still away after 1 min. Failure rules applied: open 1.',
      'turnpike: Redis is still away after 5 min. Failure rules applied: open 5.',
      'turnpike: Redis is still away after 30 min. Failure rules applied: open 30.',
      'turnpike: Redis is back after 7200.0 s. Failure rules applied: open 121.',
    ])
  })

  it('no line comes after it is back, nor after the instance is closed', async () => {
    const { clock, lines, change, end } = away()
    change('away')
    change('back', 30_000)
    await clock.advance(300_000)
    change('away')
    end()
    await clock.advance(3_600_000)
    expect(lines).toHaveLength(3)
  })
})

describe('the default logger', () => {
  const written = (isTTY: boolean): string => {
    let text = ''
    const stream = { isTTY, write: (line: string) => (text += line) }
    const logger = defaultLogger(stream as never)
    logger.warn('one\n\u001B[2J"two"')
    return text
  }

  it('writes text on a terminal, without control characters', () => {
    expect(written(true)).toBe('turnpike: one\\x0a\\x1b[2J"two"\n')
  })

  it('writes one line of JSON elsewhere', () => {
    const text = written(false)
    expect(text.trimEnd().split('\n')).toHaveLength(1)
    expect(JSON.parse(text)).toEqual({
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      level: 'warn',
      name: 'turnpike',
      msg: 'one\n\u001B[2J"two"',
    })
  })
})

describe(
  'a process whose Redis is killed and started again writes two lines',
  () => {
    const PROGRAM = `
    import { turnpike } from 'turnpike/node'
    const tp = turnpike({ redis: JSON.parse(process.env.REDIS), commandTimeout: '1s' })
    await tp.ready('10s')
    const limiter = tp.limiter('used', { limit: 5, window: '1m', denyCache: true })
    await limiter.consume('me')
    await tp.data.set('large', 'x'.repeat(100_000), { ttl: '1m' }).catch(() => {})
    console.log('used')
    const timer = setInterval(() => {
      for (let i = 0; i < 10; i++) void limiter.consume('me')
    }, 20)
    await received('close')
    clearInterval(timer)
    await tp.close()`

    async function linesOf(
      redis: unknown,
      kill: () => Promise<unknown>,
      restart: () => Promise<unknown>,
    ): Promise<string[]> {
      const script = startScript(PROGRAM, {
        env: { REDIS: JSON.stringify(redis) },
        patience: 40_000 + OUTAGE,
      })
      await script.says('used')
      await kill()
      await new Promise((resolve) => setTimeout(resolve, OUTAGE))
      await restart()
      await new Promise((resolve) => setTimeout(resolve, 2500))
      script.tell('close')
      const { code, stderr } = await script.ended
      expect(code).toBe(0)
      return stderr.split('\n').filter((line) => line !== '')
    }
    const lines = [
      expect.stringMatching(
        /^\{"time":"[^"]+","level":"warn","name":"turnpike","msg":"Redis is away: /,
      ),
      expect.stringMatching(
        /^\{"time":"[^"]+","level":"info","name":"turnpike","msg":"Redis is back after /,
      ),
    ]

    it('one server', async () => {
      await using own = await startRedis()
      expect(
        await linesOf(
          own.url,
          () => own.kill(),
          () => own.restart(),
        ),
      ).toEqual(lines)
    })

    it('a Cluster', async () => {
      await using cluster = await startCluster({ replicas: 0 })
      const [first] = cluster.nodes
      const seen = await linesOf(
        { cluster: cluster.startup },
        async () => first!.freeze(),
        async () => first!.thaw(),
      )
      expect(seen).toEqual(lines)
    })

    it('behind Sentinels', async () => {
      await using sentinel = await startSentinel()
      const seen = await linesOf(
        sentinel.source,
        async () => sentinel.master.freeze(),
        async () => sentinel.master.thaw(),
      )
      expect(seen[0]).toMatch(/is away/)
      expect(seen.filter((line) => !line.includes('"msg":"Redis is '))).toEqual([])
    })
  },
  60_000 + OUTAGE,
)
