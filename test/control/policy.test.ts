/** Policies that are changed and limits that are enforced for a share, on both engines and in all frameworks. */
import { describe, expect, onTestFinished, test } from 'vitest'
import { turnpike } from '../../src/node.ts'
import { apps } from '../support/apps.ts'
import { bothEngines } from '../support/engines.ts'

const WHY = { by: 'ann', reason: 'a test' }
const MINUTE = 60_000

describe.each(bothEngines())('a changed policy on the $name engine', ({ open, server }) => {
  describe.each(apps)('on $name', ({ start }) => {
    const setUp = (mount: (tp: any) => any[]) => {
      const opened = open()
      const app = start({ options: { store: opened.store, prefix: opened.prefix }, mount })
      const statuses = async (count: number, headers = {}): Promise<number[]> => {
        const all: number[] = []
        for (let i = 0; i < count; i++) all.push((await app.get('/', headers)).status)
        return all
      }
      return { ...opened, app, control: app.tp.control, statuses }
    }

    test('counts by its new limit and window at once, keeps what was counted, and returns to its options', async () => {
      const { app, control, statuses, advance } = setUp((tp) => [
        tp.rateLimit({ name: 'api', policies: [{ name: 'minute', limit: 5, window: '1m' }] }),
      ])
      expect(await statuses(2)).toEqual([200, 200])
      await control.policy('api.minute', { limit: 3 }, WHY)
      const last = await app.get()
      expect([last.status, last.headers['ratelimit-policy']]).toEqual([200, '"minute";q=3;w=60'])
      expect(await statuses(1)).toEqual([429])
      await control.policy('api.minute', { limit: 6 }, { ...WHY, for: '30s' })
      expect(await statuses(4)).toEqual([200, 200, 200, 429])
      await advance('30s')
      // The change has ended, and six of five are used.
      expect(await statuses(1)).toEqual([429])
      await control.policy('api.minute', { limit: 1, window: '10s' }, WHY)
      await advance('10s')
      expect(await statuses(2)).toEqual([200, 429])
      await control.policy('api.minute', { limit: 0 }, WHY)
      await advance('1m')
      expect(await statuses(1)).toEqual([429])
      await control.policy('api.minute', 'default', WHY)
      expect(await statuses(6)).toEqual([200, 200, 200, 200, 200, 429])
    })

    test('is that of a limit without policies by its one name, and other policies stay', async () => {
      const { control, statuses } = setUp((tp) => [
        tp.rateLimit({ name: 'api', limit: 2, window: '1m', algorithm: 'gcra' }),
        tp.rateLimit({
          name: 'all',
          policies: [
            { name: 'a', limit: () => 100, window: '1m' },
            { name: 'b', limit: 100, window: '1m' },
          ],
        }),
      ])
      await control.policy('api', { limit: 60, burst: 4 }, WHY)
      expect(await statuses(5)).toEqual([200, 200, 200, 200, 429])
      await control.policy('api', { limit: 60, burst: 100 }, WHY)
      await control.policy('all.a', { limit: 6 }, WHY)
      expect(await statuses(3)).toEqual([200, 200, 429])
    })

    test('is enforced for the same share of clients, for the others only counted', async () => {
      const { app, control } = setUp((tp) => [
        tp.rateLimit({ name: 'api', limit: 0, window: '1m', key: ({ headers }: any) => headers.u }),
      ])
      const shadows: boolean[] = []
      app.tp.on('decision', ({ shadow }) => void shadows.push(shadow))
      const refusedOf = async (enforce: number): Promise<number[]> => {
        await control.mode('api', 'on', { ...WHY, enforce })
        const refused: number[] = []
        for (let i = 0; i < 40; i++)
          if ((await app.get('/', { u: `user-${i}` })).status === 429) refused.push(i)
        return refused
      }
      expect(await refusedOf(0)).toEqual([])
      expect(shadows.splice(0)).toEqual(Array.from({ length: 40 }, () => true))
      const quarter = await refusedOf(25)
      expect(quarter.length).toBeGreaterThan(2)
      expect(quarter.length).toBeLessThan(22)
      expect(shadows.filter((each) => !each)).toHaveLength(quarter.length)
      expect(await refusedOf(60)).toEqual(expect.arrayContaining(quarter))
      expect(await refusedOf(100)).toHaveLength(40)
      expect((await control.modes())[0]).toMatchObject({ mode: 'on', enforce: 100 })
    })
  })

  const openLimiter = (algorithm: 'sliding-window' | 'fixed-window' | 'gcra') => {
    const { store, prefix, advance } = open()
    const tp = turnpike({ store, prefix })
    onTestFinished(() => tp.close())
    const limiter = tp.limiter('api', { limit: 8, window: '1m', algorithm })
    return { advance, limiter, tp, store }
  }

  test.each([
    ['sliding-window', 1],
    ['fixed-window', 1],
    ['gcra', 2],
  ] as const)(
    'lowered, raised and restored under load, %s admits no more than the higher limit in any window',
    async (algorithm, factor) => {
      const { advance, limiter, tp, store } = openLimiter(algorithm)
      const higher = 12
      const admitted: number[] = []
      const limits = [3, higher, 'default', 1, higher, 'default', 0, higher] as const
      for (const limit of [...limits, ...limits]) {
        await tp.control.policy('api', limit === 'default' ? limit : { limit }, WHY)
        for (let i = 0; i < 4; i++) {
          const decisions = await Promise.all(
            Array.from({ length: 5 }, () => limiter.consume('ann')),
          )
          const at = store.now()
          for (const { allowed } of decisions) if (allowed) admitted.push(at)
          await advance(`${1 + ((i * 7 + admitted.length * 5) % 11)}s`)
        }
      }
      expect(admitted.length).toBeGreaterThan(2 * higher)
      const startsOf = (at: number): number =>
        algorithm === 'fixed-window' ? at - (at % MINUTE) : at
      for (const from of admitted.map(startsOf)) {
        const inWindow = admitted.filter((at) => at >= from && at < from + MINUTE)
        expect(inWindow.length).toBeLessThanOrEqual(factor * higher)
      }
    },
  )

  test('adds no script to those of Redis, however often it is changed', async () => {
    const { limiter, tp } = openLimiter('sliding-window')
    const scripts = async (): Promise<string | undefined> =>
      /number_of_cached_scripts:\d+/.exec((await server()?.send('INFO', 'memory')) ?? '')?.[0]
    await tp.control.policy('api', { limit: 7 }, WHY)
    await limiter.consume('ann')
    const before = await scripts()
    for (let i = 0; i < 30; i++) {
      await tp.control.policy('api', { limit: 20 + i, window: `${10 + i}s` }, WHY)
      expect((await limiter.consume('ann')).limit).toBe(20 + i)
    }
    await tp.control.policy('api', 'default', WHY)
    await limiter.consume('ann')
    // The script of the mounted policy is loaded with its first use.
    expect(Number(/\d+/.exec((await scripts()) ?? '')?.[0] ?? 0)).toBeLessThanOrEqual(
      Number(/\d+/.exec(before ?? '')?.[0] ?? 0) + 1,
    )
  })
})

describe('mistakes', () => {
  const setUp = () => {
    const tp = turnpike()
    onTestFinished(() => tp.close())
    return tp.control as any
  }

  test.each([
    ['', { limit: 1 }, "The option policy must be names of a limit and its policy: 'api.minute'"],
    ['a b', { limit: 1 }, 'names of a limit'],
    ['api', {}, "an object like { limit: 30 }, or 'default'"],
    ['api', 'off', "or 'default'"],
    ['api', { limits: 1 }, 'limits'],
    ['api', { limit: -1 }, 'limit'],
    ['api', { limit: 1.5 }, 'limit'],
    ['api', { limit: Infinity }, 'limit'],
    ['api', { limit: '5' }, 'limit'],
    ['api', { burst: 0 }, 'burst'],
    ['api', { window: '1 minute' }, 'window'],
    ['api', { window: '367d' }, 'at most 366 days'],
    ['api', { window: 'month' }, 'window'],
  ])('policy %j changed to %j is refused', async (policy, values, message) => {
    await expect(setUp().policy(policy, values, WHY)).rejects.toMatchObject({
      code: 'TP_OPTION',
      message: expect.stringContaining(message.replace('The option policy must be ', '')),
    })
  })

  test.each([
    ['shadow', 25, "`enforce` requires the mode 'on'"],
    ['on', 101, 'enforce'],
    ['on', 0.5, 'enforce'],
    ['on', '25', 'enforce'],
    ['default', 25, undefined],
  ])('mode %s with enforce %j is refused', async (mode, enforce, message) => {
    const call = setUp().mode('api', mode, { ...WHY, enforce })
    if (message === undefined) await expect(call).rejects.toMatchObject({ code: 'TP_OPTION' })
    else await expect(call).rejects.toMatchObject({ message: expect.stringContaining(message) })
  })

  test('a change of a policy is listed with who made it, and noted', async () => {
    const control = setUp()
    await control.policy('api.minute', { limit: 30, window: '1m' }, { ...WHY, for: '1h' })
    expect(await control.policies()).toEqual([
      expect.objectContaining({ policy: 'api.minute', limit: 30, window: MINUTE, by: 'ann' }),
    ])
    expect(await control.rules()).toEqual([])
    await control.policy('api.minute', 'default', WHY)
    expect(await control.policies()).toEqual([])
    const audit = await control.audit()
    expect(audit.map(({ action, subject }: any) => `${action}, ${subject}`)).toEqual([
      'policy default, policy api.minute',
      'policy, policy api.minute limit=30 window=1m for 1h',
    ])
  })
})
