/** Work that has ended, however it ended, does not delay close(): it waits only for work in progress. */
import { expect, test } from 'vitest'
import { testStore } from '../../src/testing.ts'
import { apps } from '../support/apps.ts'

test.each(apps)(
  'attack: $name: requests that fail do not delay the end of the process',
  async ({ start }) => {
    const app = start({
      options: { store: testStore() },
      mount: (tp) => [tp.idempotency({ scope: () => 'me' })],
      async handle(native) {
        await app.tp.lock('a', {}, () => {})
        await app.tp.lock('b', {}, () => Promise.reject(new Error('in the lock'))).catch(() => {})
        if (native.headers['x-fail']) throw new Error('failed')
        return [200, 'ok']
      },
    })
    expect((await app.post('/', { 'Idempotency-Key': '1' })).status).toBe(200)
    expect((await app.post('/', { 'Idempotency-Key': '2', 'X-Fail': '1' })).status).toBe(500)
    // If an end was not noted, it takes ten minutes.
    await app.tp.close({ drain: '10m' })
  },
)
