/** One-time tokens, refresh tokens and API keys in the matrix of faults. */
import { expect } from 'vitest'
import { TokenFormat } from '../../../src/extensions/tokens/token-format.ts'
import { apiKeys, oneTimeTokens, refreshTokens } from '../../../src/tokens.ts'
import { always, failsTo503, type Feature, type Subject } from './feature.ts'
import type { Ask } from './site.ts'
import { until } from '../../support/until.ts'

const USER = 'ann'
/** A valid code that was never issued. */
const NEVER_ISSUED = new TokenFormat('once', 65).write('0'.repeat(65))

/** A code is accepted once, under every fault. */
export const oneTimeToken: Feature = {
  name: 'one-time token',
  open({ tp, site, fault: { forgets } }) {
    const codes = oneTimeTokens(tp, { purpose: 'matrix', cooldown: 0, addressLimit: 1_000_000 })
    let count = 0
    /** Codes that were issued and not yet accepted. */
    const unused: string[] = []
    const used = new Set<string>()
    /** Codes that were refused with 503 and may be used. */
    const doubtful = new Set<string>()
    site.serve('/code/issue', [], async () => {
      const { code } = await codes.issue(++count)
      if (code !== undefined) unused.push(code)
      return [200, 'issued']
    })
    const guard = codes.guard({ code: (native) => native.headers['x-code'] })
    site.serve('/code', [guard], () => [200, 'right'])
    const use = (code: string): Ask => ({
      path: '/code',
      method: 'POST',
      headers: { 'x-code': code },
    })
    const issue = (): Ask => ({ path: '/code/issue', method: 'POST' })
    const check: Subject['check'] = (answer, { path, headers }) => {
      if (path === '/code/issue') return
      const code = headers!['x-code']!
      if (answer.status === 200) {
        expect(used.has(code)).toBe(false)
        used.add(code)
      } else if (answer.status === 503) {
        if (answer.uncertain) doubtful.add(code)
        if (code !== NEVER_ISSUED && !used.has(code)) unused.unshift(code)
      } else if (answer.status === 410 && !forgets)
        expect(code === NEVER_ISSUED || used.has(code) || doubtful.has(code)).toBe(true)
    }
    return {
      questions: [
        { name: 'one-time token, issued', rule: failsTo503(200), waits: 'once', next: issue },
        {
          name: 'one-time token, used',
          rule: failsTo503(200, 410),
          waits: 'once',
          next: () => use(unused.pop() ?? NEVER_ISSUED),
        },
      ],
      check,
      probe: { next: issue, usesRedis: ({ status }) => status === 200 },
      async expectNoLateEffects(ask) {
        // On a loaded machine a request can miss the timeout and still take effect.
        const settled = async (code: string): Promise<{ status: number; isDoubtful: boolean }> => {
          let isDoubtful = doubtful.has(code)
          const status = await until('the code is answered', async () => {
            const { status } = await ask(use(code))
            if (status === 503) isDoubtful = true
            return status === 503 ? undefined : status
          })
          return { status, isDoubtful }
        }
        for (const code of [...used].slice(-50)) expect((await settled(code)).status).toBe(410)
        if (forgets) return
        for (const code of unused.splice(0).slice(-50)) {
          const { status, isDoubtful } = await settled(code)
          expect(isDoubtful ? [200, 410] : [200]).toContain(status)
        }
      },
    }
  },
}

/** An honest client stays logged in, unless Redis loses its data. */
export const refreshToken: Feature = {
  name: 'refresh token',
  open({ tp, site, fault: { forgets } }) {
    const tokens = refreshTokens(tp, { grace: '1h' })
    let token = ''
    site.serve('/refresh', [], async ({ headers }) => {
      const sent = headers['x-token']
      return [200, (await (sent ? tokens.rotate(sent) : tokens.issue(USER))).token]
    })
    const next = (): Ask => ({
      path: '/refresh',
      method: 'POST',
      headers: token ? { 'x-token': token } : {},
    })
    const check: Subject['check'] = ({ status, body }) => {
      if (status === 200) token = body
      if (status !== 401) return
      expect(forgets).toBe(true)
      token = ''
    }
    return {
      questions: [{ name: 'refresh token', rule: failsTo503(200, 401), waits: 'once', next }],
      check,
      probe: { next, usesRedis: ({ status }) => status === 200 },
      async expectNoLateEffects(ask) {
        const usesRedis = async (): Promise<boolean> => (await ask(next())).status === 200
        for (let i = 0; i < 5; i++) await until('the client is still logged in', usesRedis)
        await new Promise((resolve) => setTimeout(resolve, 300))
        await until('the client is still logged in', usesRedis)
      },
    }
  },
}

/** The application's database is queried while Redis is away. */
export const apiKey: Feature = {
  name: 'API key',
  open({ tp, site }) {
    const mount = apiKeys(tp, { lookup: () => ({ user: USER }), checksum: false, near: 0 })
    let isFromRedis = false
    tp.on('unavailable', () => (isFromRedis = false))
    site.serve('/key', [mount], (native) => [200, mount.of(native)!.user])
    const next = (): Ask => {
      isFromRedis = true
      return { path: '/key', headers: { 'x-api-key': 'k' } }
    }
    return {
      questions: [{ name: 'API key', rule: always(200), waits: 'once', next }],
      check: ({ status, body }) => status === 200 && expect(body).toBe(USER),
      probe: { next, usesRedis: ({ status }) => status === 200 && isFromRedis },
    }
  },
}
