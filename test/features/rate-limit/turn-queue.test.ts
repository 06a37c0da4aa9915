import { describe, expect, test } from 'vitest'
import { manualClock, type ManualClock } from '../../../src/clock.ts'
import { TurnQueue } from '../../../src/features/rate-limit/turn-queue.ts'

interface Call {
  readonly result: Promise<string>
  /** Ends the work of the call, once it runs. */
  end(): void
  fail(): void
}

/** Makes calls that run until the test ends them, and records in which order they begin. */
function calls(clock: ManualClock = manualClock()) {
  const queue = new TurnQueue(clock)
  const begun: string[] = []
  const call = (name: string, waitMs = 60_000, signal?: AbortSignal, key = 'key'): Call => {
    let resolve!: (result: string) => void
    let reject!: (error: Error) => void
    const ended = new Promise<string>((...functions) => ([resolve, reject] = functions))
    const work = (): Promise<string> => {
      begun.push(name)
      return ended
    }
    const result = queue.run(key, work, {
      until: clock.now() + waitMs,
      signal,
      createError: () => new Error(`${name} is too late`),
    })
    result.catch(() => {})
    return { result, end: () => resolve(name), fail: () => reject(new Error(`${name} failed`)) }
  }
  const settle = (): Promise<void> => clock.advance(0)
  return { queue, clock, begun, call, settle }
}

describe('calls that wait for their turn', () => {
  test('run one after the other, in order of arrival', async () => {
    const { begun, call, settle, queue } = calls()
    const [a, b, c] = [call('a'), call('b'), call('c')]
    await settle()
    expect(begun).toEqual(['a'])
    a.end()
    expect(await a.result).toBe('a')
    await settle()
    expect(begun).toEqual(['a', 'b'])
    b.fail()
    await expect(b.result).rejects.toThrow('b failed')
    await settle()
    expect(begun).toEqual(['a', 'b', 'c'])
    c.end()
    await c.result
    expect(queue.size).toBe(0)
  })

  test('do not wait for another key', async () => {
    const { begun, call, settle } = calls()
    call('a')
    call('b', 60_000, undefined, 'other')
    await settle()
    expect(begun).toEqual(['a', 'b'])
  })

  test('give up in time, and let none overtake those before them', async () => {
    const { clock, begun, call, settle, queue } = calls()
    const a = call('a')
    const b = call('b', 10_000)
    await clock.advance(10_000)
    await expect(b.result).rejects.toThrow('b is too late')
    const c = call('c')
    await settle()
    expect(begun).toEqual(['a'])
    a.end()
    await settle()
    expect(begun).toEqual(['a', 'c'])
    c.end()
    await c.result
    expect(queue.size).toBe(0)
  })

  test('end with the reason of their signal', async () => {
    const { call, begun, settle, queue } = calls()
    const a = call('a')
    const control = new AbortController()
    const b = call('b', 60_000, control.signal)
    const c = call('c')
    control.abort(new Error('enough'))
    await expect(b.result).rejects.toThrow('enough')
    await expect(call('d', 60_000, control.signal).result).rejects.toThrow('enough')
    a.end()
    await settle()
    expect(begun).toEqual(['a', 'c'])
    c.end()
    await c.result
    expect(queue.size).toBe(0)
  })

  test.each([...Array.from({ length: 12 }).keys()])(
    'pass on a turn that comes %i microtasks after they give up',
    async (microtasks) => {
      const { clock, begun, call, settle, queue } = calls()
      const a = call('a')
      const b = call('b', 10_000)
      const c = call('c')
      const late = clock.advance(10_000)
      for (let i = 0; i < microtasks; i++) await Promise.resolve()
      a.end()
      await late
      if (begun.includes('b')) b.end()
      await settle()
      expect(begun.at(-1)).toBe('c')
      c.end()
      await c.result
      expect(queue.size).toBe(0)
    },
  )

  test('are forgotten when they give up, however many there were', async () => {
    const { clock, call, queue } = calls()
    const a = call('a')
    const others = Array.from({ length: 1_000 }, (_, i) => call(`late ${i}`, 5_000))
    expect(queue.size).toBe(1_001)
    await clock.advance(5_000)
    await Promise.allSettled(others.map(({ result }) => result))
    expect(queue.size).toBe(1)
    a.end()
    await a.result
    expect(queue.size).toBe(0)
  })
})
