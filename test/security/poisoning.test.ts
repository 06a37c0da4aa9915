/** Cache poisoning: what a response was made from that is not in its entry's name. */
import { describe, expect, test } from 'vitest'
import { kinds } from '../features/cache/support.ts'
import { testStore } from '../../src/testing.ts'

const frameworks = kinds.filter(({ name }) => ['Express 5', 'Koa 3'].includes(name))

describe.each(frameworks)('$name', ({ start }) => {
  test('attack: cache poisoning by X-Forwarded-Host, where the proxy in front is trusted', async () => {
    const app = await start({
      options: { store: testStore() },
      trustProxy: true,
      handler: ({ native, send }) => send(200, `https://${native.hostname}/reset?token=`),
    })
    const poisoned = await app.get('/', {
      host: 'good.example',
      'x-forwarded-host': 'evil.example',
    })
    expect(poisoned.text).toContain('evil.example')
    for (let i = 0; i < 2; i++)
      expect((await app.get('/', { host: 'good.example' })).text).toContain('good.example')
  })

  test('attack: cache poisoning by X-Forwarded-Proto, where the proxy in front is trusted', async () => {
    const app = await start({
      options: { store: testStore() },
      trustProxy: true,
      handler: ({ native, send }) => send(200, native.protocol),
    })
    expect((await app.get('/', { 'x-forwarded-proto': 'https' })).text).toBe('https')
    expect((await app.get('/')).text).toBe('http')
    expect((await app.get('/', { 'x-forwarded-proto': 'https' })).text).toBe('https')
  })

  test('attack: cache poisoning by a header that is not in the name: Vary and `vary` tell the entries apart', async () => {
    const app = await start({
      options: { store: testStore() },
      cache: { ttl: '1m', vary: ['X-Region'] },
      handler({ header, set, send }) {
        set('Vary', 'X-Theme')
        send(200, `${header('x-region')} ${header('x-theme')}`)
      },
    })
    expect((await app.get('/', { 'x-region': 'evil', 'x-theme': 'dark' })).text).toBe('evil dark')
    expect((await app.get('/', { 'x-region': 'eu', 'x-theme': 'dark' })).text).toBe('eu dark')
    expect((await app.get('/', { 'x-region': 'eu', 'x-theme': 'light' })).text).toBe('eu light')
    expect((await app.get('/', { 'x-region': 'eu' })).text).toBe('eu undefined')
  })

  test('attack: cache poisoning by a body or an override of the method on GET', async () => {
    let calls = 0
    const app = await start({
      options: { store: testStore() },
      handler: ({ method, send }) => send(200, `${method} ${++calls}`),
    })
    await app.get('/', { 'x-http-method-override': 'DELETE' })
    expect((await app.get('/')).text).toBe('GET 1')
    expect((await app.ask({ path: '/', method: 'POST' })).text).toBe('POST 2')
    expect((await app.get('/')).text).toBe('GET 3')
  })
})
