/** A session that one process reads near while another one changes it. */
import { expect } from 'vitest'
import { fails, type Feature, type Subject } from './feature.ts'
import type { Ask } from './site.ts'

const NEAR_MS = 300

/** What was acknowledged `near` ago is in every read that begins later, whatever became of the messages. */
export const nearSession: Feature = {
  name: 'near session',
  open({ tp, site, another, fault: { forgets } }) {
    const note = ({ session, headers }: any): readonly [number, string] => {
      if (headers['x-note']) session.note = Number(headers['x-note'])
      return [200, String(session.note)]
    }
    const secret = 'only for tests'
    site.serve('/near-session', [tp.session({ secret, near: NEAR_MS })], note)
    site.serve('/changed-elsewhere', [another().session({ secret, near: NEAR_MS })], note)
    let cookie = ''
    let count = 0
    const acknowledged: { readonly note: number; readonly at: number }[] = []
    /** What each read must find at least. */
    const least = new WeakMap<Ask, number>()
    const headers = (): Record<string, string> => (cookie ? { cookie } : {})
    const write = (path: string): Ask => ({
      path,
      headers: { ...headers(), 'x-note': String(++count) },
    })
    const read = (): Ask => {
      const ask = { path: '/near-session', headers: headers() }
      const known = performance.now() - NEAR_MS
      least.set(ask, acknowledged.findLast(({ at }) => at <= known)?.note ?? 0)
      return ask
    }
    const check: Subject['check'] = ({ status, headers, body }, ask) => {
      const [sent] = [headers['set-cookie'] ?? []].flat()
      if (status !== 200) return expect(sent).toBeUndefined()
      if (sent) [cookie = ''] = sent.split(';')
      const found = ask.headers?.['x-note']
      if (found !== undefined) acknowledged.push({ note: Number(found), at: performance.now() })
      else if (!forgets && (least.get(ask) ?? 0) > 0)
        expect(Number(body)).toBeGreaterThanOrEqual(least.get(ask)!)
    }
    const change = (): Ask => write('/near-session')
    return {
      questions: [
        {
          name: 'session, near',
          rule: { ...fails(503), away: [200, 503], reads: [200, 503], forbidden: [200] },
          waits: 'once',
          next: read,
        },
        {
          name: 'session, changed elsewhere',
          rule: fails(503),
          waits: 'twice',
          next: () => write('/changed-elsewhere'),
        },
      ],
      probe: { next: change, usesRedis: ({ status }) => status === 200 },
      check,
      async prepare(ask) {
        const elsewhere = site.turnpike({ redis: 'memory' })
        site.serve('/near-early', [elsewhere.session({ secret })], note)
        const { headers } = await ask({ path: '/near-early', headers: { 'x-note': '0' } })
        const [sent = ''] = [headers['set-cookie'] ?? []].flat()
        ;[cookie = ''] = sent.split(';')
        acknowledged.length = 0
      },
    }
  },
}
