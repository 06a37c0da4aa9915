/** What happened within a minute is one line of the log, whatever the number of requests. */
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { logActivity } from '../../src/activity-log.ts'
import { manualClock } from '../../src/clock.ts'
import { EventBus, type EventMap } from '../../src/events.ts'
import { turnpike } from '../../src/node.ts'
import { testStore } from '../../src/testing.ts'
import { express4App, express5, koa3 } from '../support/serve.ts'

function logged() {
  const clock = manualClock()
  const sleep = vi.spyOn(clock, 'sleep')
  const events = new EventBus('')
  const lines: string[] = []
  const note = (line: string): number => lines.push(line)
  const end = logActivity(events, { warn: note, info: note }, clock)
  onTestFinished(end)
  const refuse = (limit: string, times = 1, policy = limit): void => {
    for (let i = 0; i < times; i++)
      events.counts.row('refusal', `${limit}\n${policy}`).count('refused')
  }
  const slow = (cause: EventMap['slow']['cause'], ms: number, count: number): void =>
    events.emit('slow', { store: 'redis', operation: 'lookup', ms, cause, count })
  return { clock, end, lines, refuse, sleep, slow }
}

describe('refusals', () => {
  it('are a line for each limit and minute', async () => {
    const { clock, lines, refuse } = logged()
    refuse('api', 2, 'burst')
    refuse('api', 3, 'hour')
    refuse('login')
    await clock.advance(60_000)
    expect(lines).toEqual([
      'turnpike: Refusals by api within a minute: 5. npx turnpike limits lists who was refused.',
      'turnpike: Refusals by login within a minute: 1. npx turnpike limits lists who was refused.',
    ])
    refuse('api', 4, 'hour')
    await clock.advance(60_000)
    expect(lines.slice(2)).toEqual([expect.stringContaining('Refusals by api within a minute: 4.')])
  })

  it('are at most eleven lines, those of the limits that refused most', async () => {
    const { clock, lines, refuse } = logged()
    for (let i = 1; i <= 30; i++) refuse(`limit-${i}`, i)
    await clock.advance(60_000)
    expect(lines).toHaveLength(11)
    expect(lines[0]).toContain('Refusals by limit-30 within a minute: 30.')
    expect(lines.at(-1)).toBe('turnpike: Refusals by 20 more limits within a minute: 210.')
  })

  it.each([express4App, express5, koa3])('of requests are counted on $name', async ({ serve }) => {
    const store = testStore()
    const lines: string[] = []
    const { get } = await serve({
      options: { store, logger: { warn: (line: string) => lines.push(line) } },
      routes: (tp) => ({ '/': tp.rateLimit({ name: 'api', limit: 1, window: '1h' }) }),
    })
    for (let i = 0; i < 3; i++) await get('/')
    await store.advance('60s')
    expect(lines).toEqual([expect.stringContaining('Refusals by api within a minute: 2.')])
  })
})

describe('slow calls', () => {
  it('are a line for each cause and minute, with their number and the slowest', async () => {
    const { clock, lines, slow } = logged()
    slow('server', 60, 3)
    slow('server', 81.4, 2)
    slow('server', 70, 5)
    slow('process', 55, 1)
    await clock.advance(60_000)
    expect(lines).toEqual([
      'turnpike: Slow calls to Redis within a minute: 10. The slowest, lookup, took 81 ms. Redis or the network was slow: run npx turnpike doctor.',
      'turnpike: Slow calls to Redis within a minute: 1. The slowest, lookup, took 55 ms. The event loop of this process was blocked.',
    ])
    await clock.advance(60_000)
    expect(lines).toHaveLength(2)
  })
})

it('a minute in which nothing happened has no line, and no timer runs before the first one', async () => {
  const { clock, lines, refuse, sleep } = logged()
  expect(sleep).not.toHaveBeenCalled()
  refuse('api')
  expect(sleep).toHaveBeenCalledExactlyOnceWith(60_000, expect.any(AbortSignal), true)
  await clock.advance(600_000)
  expect(lines).toHaveLength(1)
})

it('no line comes after the instance is closed', async () => {
  const { clock, end, lines, refuse } = logged()
  refuse('api')
  end()
  await clock.advance(600_000)
  expect(lines).toEqual([])
})

it('logger: false, and a test store without a logger, write nothing', async () => {
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  onTestFinished(() => write.mockRestore())
  for (const options of [{}, { logger: false }] as const) {
    const store = testStore()
    await using tp = turnpike({ store, ...options })
    const limiter = tp.limiter('api', { limit: 1, window: '1h' })
    for (let i = 0; i < 3; i++) await limiter.consume('ann')
    await store.advance('120s')
  }
  expect(write).not.toHaveBeenCalled()
})
