/** A key whose scope needs only the request is claimed before a pipeline's earlier members have answered. */
import { describe, expect, test } from 'vitest'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'

describe.each(bothEngines())('idempotency in a pipeline, on the $name engine', ({ open }) => {
  describe.each(apps)('$name', ({ start }) => {
    function shop(lease: '1s' | '30s' = '30s') {
      const { store, prefix, advance } = open()
      const events: string[] = []
      const stuck = new Set<string>()
      const { tp, post } = start({
        options: { store, prefix, requestBudget: '5s' },
        mount: (tp) => [
          tp.pipeline(
            tp.rateLimit({ limit: 1, window: '1h', key: tp.key.header('x-client') }),
            tp.idempotency({ scope: tp.key.header('x-api-key'), lease }),
          ),
        ],
        handle(native) {
          const { key, attempt, recovered } = native.idempotency ?? native.state.idempotency
          if (stuck.delete(key)) return new Promise(() => {})
          return [201, { attempt, recovered }]
        },
      })
      tp.on('idempotency', ({ type: what }: { type: string }) => events.push(what))
      const ask = (client: string, key: string, user = 'ada') =>
        post('/', { 'X-Client': client, 'X-Api-Key': user, 'Idempotency-Key': key })
      return { ask, events, stuck, advance }
    }

    test('a refused request leaves no claim behind, and its key can be used', async () => {
      const { ask, events } = shop()
      expect((await ask('a', 'k1')).status).toBe(201)
      expect((await ask('a', 'k2')).status).toBe(429)
      await until('the key is given back', () => events.includes('released'))
      const answer = await ask('b', 'k2')
      expect([answer.status, JSON.parse(answer.text)]).toEqual([
        201,
        { attempt: 1, recovered: false },
      ])
      expect(answer.headers['idempotency-replayed']).toBeUndefined()
    })

    test('a refused repetition does not disturb the answer that is stored, nor is it given', async () => {
      const { ask } = shop()
      const first = await ask('a', 'k')
      const refused = await ask('a', 'k')
      expect([refused.status, refused.headers['idempotency-replayed']]).toEqual([429, undefined])
      const again = await ask('b', 'k')
      expect([again.text, again.headers['idempotency-replayed']]).toEqual([first.text, 'true'])
    })

    test("nobody is given somebody else's answer", async () => {
      const { ask } = shop()
      expect((await ask('a', 'k', 'ada')).status).toBe(201)
      const other = await ask('b', 'k', 'bob')
      expect([other.status, other.headers['idempotency-replayed']]).toEqual([201, undefined])
    })

    test('what a scope refuses is refused at its turn', async () => {
      const { ask } = shop()
      expect((await ask('a', 'k', '')).status).toBe(400)
      expect((await ask('a', 'k', '')).status).toBe(429)
    })

    test('an attempt that was interrupted is known of, although a repetition was refused', async () => {
      const { ask, events, stuck, advance } = shop('1s')
      stuck.add('k')
      void ask('a', 'k').catch(() => {})
      await until('it hangs', () => !stuck.has('k') && events.includes('first'))
      // Renewed for ten leases.
      for (let i = 0; i < 40; i++) await advance(300)
      expect((await ask('a', 'k')).status).toBe(429)
      await until('the key is given back', () => events.includes('released'))
      expect(JSON.parse((await ask('b', 'k')).text)).toEqual({ attempt: 3, recovered: true })
    })
  })
})
