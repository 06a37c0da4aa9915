/** What docs/migrate/redlock.md says: first what stays alike, then what is different on purpose. */
import { createRequire } from 'node:module'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { turnpike } from '../../src/express.ts'
import type { Turnpike } from '../../src/turnpike.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'

/** Its types are for another ioredis, and its package names no types for ESM. */
interface Old {
  acquire(
    resources: string[],
    ms: number,
    settings?: object,
  ): Promise<{ release(): Promise<unknown>; extend(ms: number): Promise<unknown> }>
  using<Result>(
    resources: string[],
    ms: number,
    work: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result>
  on(event: 'error', listener: () => void): void
}
const { default: Redlock } = createRequire(import.meta.url)('redlock') as {
  default: new (clients: Redis[], settings?: object) => Old
}

let redis: RedisServer
let client: Redis
beforeAll(async () => {
  redis = await startRedis()
  client = new Redis(redis.url)
})
afterAll(async () => {
  client.disconnect()
  await redis.stop()
})
beforeEach(() => client.flushall())

function old(settings: object = {}): Old {
  const redlock = new Redlock([client], {
    retryCount: 0,
    automaticExtensionThreshold: 100,
    ...settings,
  })
  redlock.on('error', () => {})
  return redlock
}

function fresh(): Turnpike<any, any> {
  const tp = turnpike({ redis: redis.url, commandTimeout: '2s' })
  onTestFinished(() => tp.close())
  return tp
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

interface Locker {
  name: string
  /** Take and give back. */
  acquire(names: string[]): Promise<{ release(): Promise<unknown> }>
  using<Result>(
    names: string[],
    ms: number,
    work: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result>
}

const lockers = (): Locker[] => {
  const [redlock, tp] = [old(), fresh()]
  return [
    {
      name: 'redlock',
      acquire: (names) => redlock.acquire(names, 5000),
      using: (names, ms, work) => redlock.using(names, ms, work),
    },
    {
      name: 'turnpike',
      acquire: (names) => tp.lock.all.acquire(names, { lease: '5s' }),
      using: (names, ttl, work) => tp.lock.all(names, { lease: ttl }, work),
    },
  ]
}

describe('alike', () => {
  test('one holder at a time, of one name or several, and the next one after the release', async () => {
    for (const { name, acquire } of lockers()) {
      const held = await acquire([`${name}:a`, `${name}:b`])
      await expect(acquire([`${name}:b`]), name).rejects.toThrow()
      await held.release()
      await (await acquire([`${name}:b`])).release()
    }
  })

  test('using() gives the result, renews while the work goes on, and gives the lock back', async () => {
    for (const { name, acquire, using } of lockers()) {
      const result = await using([name], 400, async (signal) => {
        await sleep(900)
        await expect(acquire([name]), name).rejects.toThrow()
        expect(signal.aborted).toBe(false)
        return 42
      })
      expect(result).toBe(42)
      await (await acquire([name])).release()
    }
  })

  test('the signal fires when the lock is lost', async () => {
    for (const { name, using } of lockers()) {
      let aborted = false
      const work = using([name], 400, async (signal) => {
        await client.flushall()
        await sleep(700)
        aborted = signal.aborted
      })
      // Both then say that there is nothing to give back.
      await expect(work, name).rejects.toThrow()
      expect(aborted, name).toBe(true)
    }
  })
})

describe('different on purpose', () => {
  test('who waits is woken by the release here; there it polls', async () => {
    const [redlock, tp] = [old({ retryCount: 50, retryDelay: 400, retryJitter: 0 }), fresh()]
    const waited = async (
      acquire: () => Promise<{ release(): Promise<unknown> }>,
    ): Promise<number> => {
      const held = await acquire()
      const next = acquire().then(async (lock) => {
        const at = performance.now()
        await lock.release()
        return at
      })
      await sleep(450)
      const released = performance.now()
      await held.release()
      return (await next) - released
    }
    const before = await waited(() => redlock.acquire(['a'], 5000))
    const after = await waited(() => tp.lock.acquire('b', { lease: '5s', wait: '20s' }))
    expect(before).toBeGreaterThan(200)
    expect(after).toBeLessThan(200)
  })

  test('a fencing token: there is none there', async () => {
    const tp = fresh()
    const [first, second] = [
      await tp.lock('a', {}, (_signal, { token }) => token),
      await tp.lock('a', {}, (_signal, { token }) => token),
    ]
    expect(second).toBeGreaterThan(first)
    const theirs = await old().acquire(['b'], 5000)
    expect(theirs).not.toHaveProperty('token')
    await theirs.release()
  })

  test('releasing twice: an error there, harmless here', async () => {
    const [theirs, ours] = [await old().acquire(['a'], 5000), await fresh().lock.acquire('b')]
    await theirs.release()
    await expect(theirs.release()).rejects.toThrow()
    expect([await ours.release(), await ours.release()]).toEqual([true, true])
  })

  test('work whose lock was lost: its result is given there, an error here', async () => {
    const lose = async (): Promise<string> => {
      await client.flushall()
      await sleep(600)
      return 'done'
    }
    expect(
      await old()
        .using(['a'], 300, lose)
        .catch(() => 'an error of the release'),
    ).not.toBe(undefined)
    await expect(fresh().lock('b', { lease: '300ms' }, lose)).rejects.toMatchObject({
      code: 'TP_LOCK_LOST',
    })
  })
})

describe('deploys', () => {
  test('a holder of both locks excludes the old code and the new one, and either excludes it', async () => {
    const [redlock, tp] = [old(), fresh()]
    const both = (work: () => Promise<void>): Promise<void> =>
      redlock.using(['orders'], 5000, () => tp.lock('orders', { lease: '5s' }, work))
    await both(async () => {
      await expect(redlock.acquire(['orders'], 5000)).rejects.toThrow()
      await expect(tp.lock.acquire('orders')).rejects.toThrow()
    })
    const before = await redlock.acquire(['orders'], 5000)
    await expect(both(async () => {})).rejects.toThrow()
    await before.release()
    const after = await tp.lock.acquire('orders')
    await expect(both(async () => {})).rejects.toThrow()
    await after.release()
    await both(async () => {})
  })
})
