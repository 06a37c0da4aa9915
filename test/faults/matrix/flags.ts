/** Flags in the matrix of faults: a check never fails, and a change is not half made. */
import { expect } from 'vitest'
import { isUnavailable } from '../../../src/errors.ts'
import { flags } from '../../../src/flags.ts'
import { until } from '../../support/until.ts'
import { always, failsTo503, type Feature } from './feature.ts'
import type { Ask } from './site.ts'

const DEFAULTS = { number: 0 }

export const featureFlag: Feature = {
  name: 'flags',
  open({ tp, site, fault: { forgets }, another }) {
    const feature = flags(tp, { defaults: DEFAULTS })
    const elsewhere = flags(another(), { defaults: DEFAULTS })
    let count = 0
    /** The values that may be stored: the last acknowledged one, and later ones with an uncertain outcome. */
    let possible = new Set([0])
    site.serve('/flag', [feature], (native) => [200, String(feature.of(native).value('number'))])
    site.serve('/flag-change', [], async () => {
      const value = ++count
      try {
        await feature.set('number', { value })
      } catch (error) {
        if (isUnavailable(error) && error.uncertain) possible.add(value)
        throw error
      }
      possible = new Set([value])
      return [200, String(value)]
    })
    const change = (): Ask => ({ path: '/flag-change', method: 'PUT' })
    const isPossible = (value: number): boolean =>
      possible.has(value) || (forgets === true && value === 0)
    return {
      questions: [
        {
          name: 'flag, checked',
          rule: { ...always(200), forbidden: [200] },
          waits: 'once',
          next: () => ({ path: '/flag' }),
        },
        { name: 'flag, changed', rule: failsTo503(200), waits: 'twice', next: change },
      ],
      check({ status, body }, { path }) {
        if (path === '/flag' && status === 200) expect(isPossible(Number(body)), body).toBe(true)
      },
      probe: { next: change, usesRedis: ({ status }) => status === 200 },
      async expectNoLateEffects() {
        const isAgreed = async (): Promise<boolean> => {
          await elsewhere.refresh().catch(() => {})
          return elsewhere.value('number') === feature.value('number')
        }
        await until('another process has the same value', isAgreed)
        const agreed = feature.value('number')
        expect(isPossible(agreed)).toBe(true)
        await new Promise((resolve) => setTimeout(resolve, 300))
        await until('they still have it', isAgreed)
        expect(feature.value('number')).toBe(agreed)
      },
    }
  },
}
