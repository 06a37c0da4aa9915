/** Collections in the matrix of faults: those that write at once, and those that write later. */
import { expect } from 'vitest'
import { counters, leaderboard } from '../../../src/collections.ts'
import { isUnavailable } from '../../../src/errors.ts'
import { until } from '../../support/until.ts'
import { always, failsTo503, type Feature } from './feature.ts'
import type { Ask } from './site.ts'

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** A score has what was acknowledged, and at most the uncertain changes besides. */
export const leaderboardScore: Feature = {
  name: 'leaderboard',
  open({ tp, site, fault: { delivers, forgets } }) {
    const board = leaderboard(tp, 'matrix')
    let [acknowledged, doubtful] = [0, 0]
    site.serve('/score', [], async () => {
      try {
        const { score } = await board.add('ann', 1)
        acknowledged++
        return [200, String(score)]
      } catch (error) {
        if (isUnavailable(error) && error.uncertain) doubtful++
        throw error
      }
    })
    site.serve('/score-of', [], async () => [200, String((await board.rank('ann'))?.score ?? 0)])
    const next = (): Ask => ({ path: '/score', method: 'POST' })
    return {
      questions: [{ name: 'leaderboard', rule: failsTo503(200), waits: 'once', next }],
      probe: { next, usesRedis: ({ status }) => status === 200 },
      async expectNoLateEffects(ask) {
        const score = (): Promise<number> =>
          until('the score is read', async () => {
            const { status, body } = await ask({ path: '/score-of' })
            return status === 200 ? Number(body) : undefined
          })
        // A command that was sent counts when it arrives.
        await pause(delivers ? 300 : 0)
        const found = await score()
        expect(found).toBeLessThanOrEqual(acknowledged + doubtful)
        if (!forgets) expect(found).toBeGreaterThanOrEqual(acknowledged)
        await pause(300)
        expect(await score()).toBe(found)
      },
    }
  },
}

/** Each increment counts once, however often it had to be sent. */
export const counterSums: Feature = {
  name: 'counters',
  open({ tp, site, fault: { forgets, kind } }) {
    const stats = counters(tp, 'matrix', { flush: 50, fields: ['hits'] })
    let added = 0
    site.serve('/count', [], () => {
      stats.add('page', { hits: 1 })
      return [200, String(++added)]
    })
    site.serve('/count-of', [], async () => [200, String((await stats.get('page')).hits)])
    const read = (): Ask => ({ path: '/count-of' })
    return {
      questions: [
        {
          name: 'counters, added',
          rule: { ...always(200), forbidden: [200] },
          waits: 'once',
          next: () => ({ path: '/count', method: 'POST' }),
        },
      ],
      probe: { next: read, usesRedis: ({ status }) => status === 200 },
      async expectNoLateEffects(ask) {
        const count = (): Promise<string | undefined> =>
          ask(read()).then(({ status, body }) => (status === 200 ? body : undefined))
        // What Redis refuses by its permissions is lost, and reported.
        const isExact = !forgets && kind !== 'forbidden'
        const isThere = async (): Promise<boolean> => {
          const found = await count()
          return found !== undefined && (!isExact || Number(found) === added)
        }
        await until('all increments are counted', isThere)
        await pause(300)
        await until('they are read', async () => {
          const found = await count()
          if (found === undefined) return false
          expect(Number(found)).toBeLessThanOrEqual(added)
          if (isExact) expect(Number(found)).toBe(added)
          return true
        })
      },
    }
  },
}
