/** API clients without cookies: the session's ID in a header field. */
import type { Response } from 'supertest'
import { describe, expect, test } from 'vitest'
import { turnpike } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { ageing, cookiesOf, site, type SiteOptions } from './support.ts'

const engines = bothEngines()
const valueOf = ({ headers }: Response): string => String(headers['x-session'])
const header = { transport: { header: 'X-Session' } }

describe.each(engines)('on the $name engine', (engine) => {
  const open = ageing(engine)

  describe.each(apps)('$name', (kind) => {
    const start = (options: SiteOptions = {}) => {
      const opened = open()
      return { ...opened, opened, app: site(kind, opened, { session: header, ...options }) }
    }

    test('a client sends back what it received', async () => {
      const { app } = start()
      const first = await app.get('/set?key=a&value=1')
      const value = valueOf(first)
      expect(value).toMatch(/^s%3A/)
      expect(cookiesOf(first)).toEqual([])
      const second = await app.get('/', { 'X-Session': value })
      expect(second.text).toBe('{"a":"1"}')
      expect(second.headers['x-session']).toBeUndefined()
      expect((await app.get('/')).text).toBe('{}')
    })

    test('a login changes the value, a logout empties it', async () => {
      const { app } = start()
      const before = valueOf(await app.get('/set?key=a&value=1'))
      const login = await app.get('/login', { 'X-Session': before })
      const value = valueOf(login)
      expect(value).not.toBe(before)
      expect((await app.get('/', { 'X-Session': value })).text).toBe('{"a":"1","userId":"ada"}')
      const out = await app.get('/logout', { 'X-Session': value })
      expect(out.headers['x-session']).toBe('')
      expect((await app.get('/', { 'X-Session': value })).text).toBe('{}')
    })

    test('no cache keeps a response with the value, and none mixes up clients', async () => {
      const { app } = start()
      const first = await app.get('/set?key=a&value=1')
      expect(first.headers['cache-control']).toBe('no-store')
      expect(first.headers['vary']).toContain('x-session')
      const second = await app.get('/', { 'X-Session': valueOf(first) })
      expect(second.headers['vary']).toContain('x-session')
      expect(second.headers['cache-control']).toBeUndefined()
    })

    test('attack: a forged value, and the value of a cookie, is no session', async () => {
      const { app, opened } = start()
      const someone = site(kind, opened, {}).browser()
      await someone.get('/login')
      for (const value of [someone.cookie()!, 's:x.y', ',,,,', 'x'.repeat(8000)])
        expect((await app.get('/', { 'X-Session': value })).text).toBe('{}')
      const value = valueOf(await app.get('/login'))
      expect((await site(kind, opened, {}).get('/', { Cookie: `sid=${value}` })).text).toBe('{}')
      expect((await app.get('/', { 'X-Session': `${value}x` })).text).toBe('{}')
    })

    test('two values: the one that names a living session counts; two living ones are believed neither', async () => {
      const { app } = start()
      const one = valueOf(await app.get('/set?key=a&value=1'))
      const two = valueOf(await app.get('/set?key=a&value=2'))
      expect((await app.get('/', { 'X-Session': `${one}, ${two}` })).text).toBe('{}')
      await app.get('/logout', { 'X-Session': two })
      expect((await app.get('/', { 'X-Session': `${two},${one}` })).text).toBe('{"a":"1"}')
    })

    test('a Secure cookie setting keeps no header back', async () => {
      const { app } = start({ session: { ...header, cookie: { secure: true } } })
      expect((await app.get('/set?key=a&value=1')).headers['x-session']).toMatch(/^s%3A/)
      expect(app.warnings).toEqual([])
    })
  })
})

test.each([
  [{ transport: 'header' }, 'transport must be'],
  [{ transport: {} }, 'transport must be'],
  [{ transport: { header: 'a b' } }, 'transport must be'],
  [{ transport: { header: 'Cookie' } }, 'transport must be'],
  [{ transport: { header: 'authorization' } }, 'transport must be'],
  [{ transport: { header: 'x-session' }, name: 'sid' }, 'name must be absent'],
])('%o: %s', (options, message) => {
  const tp = turnpike({ store: testStore() })
  expect(() => tp.session({ secret: 's', ...options } as never)).toThrow(message)
})
