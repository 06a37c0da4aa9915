/** Jobs in the matrix of faults. */
import { expect } from 'vitest'
import { jobs } from '../../../src/jobs.ts'
import { until } from '../../support/until.ts'
import { fails, type Feature, type Subject } from './feature.ts'
import type { Ask } from './site.ts'

/** A request that is answered 202 has exactly one job, also if it was repeated. */
export const job: Feature = {
  name: 'job',
  open({ tp, site, fault: { forgets } }) {
    const queue = jobs(tp)
    queue.define('note', {})
    const idOf = (native: any): string => native.headers['x-job']
    site.serve('/job', [queue.accept('note', 1, { id: idOf })], () => [500, 'not reached'])
    let count = 0
    const added = new Set<string>()
    /** A job that was refused. It is asked for again with the same ID, as an honest client does. */
    let refused: string | undefined
    const next = (): Ask => ({
      path: '/job',
      method: 'POST',
      headers: { 'x-job': refused ?? `j${++count}` },
    })
    const check: Subject['check'] = ({ status }, { headers }) => {
      const id = headers!['x-job']!
      if (status === 202) added.add(id)
      refused = status === 202 ? undefined : id
    }
    return {
      questions: [
        {
          name: 'job, added',
          rule: { ...fails(503), 'at times': [202, 503], full: [202, 503] },
          waits: 'once',
          next,
        },
      ],
      check,
      probe: { next, usesRedis: ({ status }) => status === 202 },
      async expectNoLateEffects(ask) {
        const usesRedis = async (): Promise<boolean> => (await ask(next())).status === 202
        await until('the last job is added', usesRedis)
        if (forgets) return
        const { waiting } = await until('it is counted', () =>
          queue.counts().catch(() => undefined),
        )
        // What was refused and not repeated may be there, too.
        expect(waiting).toBeGreaterThanOrEqual(added.size)
        expect(waiting).toBeLessThanOrEqual(count)
        for (const id of [...added].slice(-20)) {
          const found = await until('it is found', () => queue.get(id).catch(() => undefined))
          expect(found.state).toBe('waiting')
        }
      },
    }
  },
}
