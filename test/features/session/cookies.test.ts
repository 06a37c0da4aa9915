/** Cookies as browsers, proxies and attackers send them: several of one name, re-encoded, copied to another name. */
import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { describe, expect, test } from 'vitest'
import { signId } from '../../../src/features/session/signature.ts'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { ageing, cookiesOf, SECRET, site, type Browser, type SiteOptions } from './support.ts'

/** Counts the HMACs that are computed meanwhile. */
async function countingHmacs(work: () => Promise<void>): Promise<number> {
  const { createHmac } = crypto
  let count = 0
  const counting: typeof createHmac = (...args) => {
    count++
    return createHmac(...args)
  }
  Object.assign(crypto, { createHmac: counting })
  syncBuiltinESMExports()
  try {
    await work()
  } finally {
    Object.assign(crypto, { createHmac })
    syncBuiltinESMExports()
  }
  return count
}

const engines = bothEngines()
const pairs = (...browsers: Browser[]): string =>
  browsers.map((each) => `sid=${each.cookie()}`).join('; ')

describe.each(engines)('on the $name engine', (engine) => {
  const open = ageing(engine)

  describe.each(apps)('$name', (kind) => {
    function start(options: SiteOptions = {}, opened = open()) {
      const app = site(kind, opened, options)
      return { ...opened, opened, app, someone: app.browser() }
    }

    test('of two cookies of one name the one that names a living session counts', async () => {
      const { app, someone } = start()
      const dead = app.browser()
      await dead.get('/login')
      const copy = app.browser()
      copy.jar.set('sid', dead.cookie()!)
      await dead.get('/logout')
      await someone.get('/set?key=a&value=1')
      const events: any[] = []
      app.tp.on('session', ({ type }: any) => events.push(type))
      for (const Cookie of [pairs(copy, someone), pairs(someone, copy), pairs(copy, copy, someone)])
        expect((await app.get('/', { Cookie })).text).toBe('{"a":"1"}')
      expect(events).toEqual([])
    })

    test('no login loop after the domain or path of the cookie changed: a login ends what both cookies name', async () => {
      const { app } = start()
      const [host, domain] = [app.browser(), app.browser()]
      await host.get('/login?user=ada')
      await domain.get('/login?user=ada')
      const both = { Cookie: pairs(host, domain) }
      expect((await app.get('/', both)).text).toBe('{}')
      const login = await app.get('/login?user=ada', both)
      const [field] = cookiesOf(login)
      // The new cookie takes the place of one of the old ones. The other stays in the browser.
      const now = /^sid=([^;]+)/.exec(field!)![1]!
      const later = { Cookie: `sid=${host.cookie()}; sid=${now}` }
      expect((await app.get('/', later)).text).toBe('{"userId":"ada"}')
      expect(await app.tp.sessions.count('ada')).toBe(1)
    })

    test('the same after a login that passport or the application does itself, by regenerate', async () => {
      const { app } = start({
        routes: {
          '/own-login': async (native) => {
            await new Promise<void>((resolve, reject) =>
              native.session.regenerate((error?: Error) => (error ? reject(error) : resolve())),
            )
            native.session.user = 'ada'
            return {}
          },
        },
      })
      const [host, domain] = [app.browser(), app.browser()]
      await host.get('/set?key=a&value=1')
      await domain.get('/set?key=a&value=2')
      const [field] = cookiesOf(await app.get('/own-login', { Cookie: pairs(host, domain) }))
      const now = /^sid=([^;]+)/.exec(field!)![1]!
      const later = { Cookie: `sid=${domain.cookie()}; sid=${now}` }
      expect((await app.get('/', later)).text).toBe('{"user":"ada"}')
    })

    test('a logout ends what both cookies name', async () => {
      const { app } = start()
      const [host, domain] = [app.browser(), app.browser()]
      await host.get('/login')
      await domain.get('/login')
      await app.get('/logout', { Cookie: pairs(host, domain) })
      expect(await app.tp.sessions.count('ada')).toBe(0)
      expect(await host.json('/')).toEqual({})
    })

    test('during the grace after a login the new session counts, not the old one', async () => {
      const { app, someone } = start()
      await someone.get('/set?key=cart&value=1')
      const before = someone.cookie()
      await someone.get('/login')
      const Cookie = `sid=${before}; sid=${someone.cookie()}`
      expect((await app.get('/', { Cookie })).text).toBe('{"cart":"1","userId":"ada"}')
    })

    test('attack: 1,500 cookies of one name with three secrets: eight are examined', async () => {
      const { app, someone } = start({ session: { secret: ['a', 'b', 'c'] } })
      await someone.get('/set?key=a&value=1')
      const valid = someone.cookie()
      const forged = Array.from({ length: 1500 }, (_, i) => `sid=${i}`)
      const field = (at: number): string => forged.toSpliced(at, 0, `sid=${valid}`).join('; ')
      expect((await app.get('/', { Cookie: field(7) })).text).toBe('{"a":"1"}')
      expect((await app.get('/', { Cookie: field(8) })).text).toBe('{}')
      // Each value costs as many signatures as there are secrets; a diagnosis may look at one more.
      const hmacs = await countingHmacs(async () => {
        const shaped = Array.from({ length: 300 }, () => `sid=s:x.${'A'.repeat(43)}`)
        expect((await app.get('/', { Cookie: shaped.join('; ') })).text).toBe('{}')
      })
      expect(hmacs).toBeGreaterThan(0)
      expect(hmacs).toBeLessThanOrEqual(8 * 3 + 3)
    })

    test('a cookie that a proxy or client has re-encoded is the same cookie', async () => {
      const { app, someone } = start()
      await someone.get('/set?key=a&value=1')
      const encoded = someone.cookie()!
      const plain = decodeURIComponent(encoded)
      const lower = encoded.replace(/%../g, (each) => each.toLowerCase())
      const all = Buffer.from(plain).toString('hex').replace(/../g, '%$&')
      for (const value of [plain, lower, all, `"${plain}"`, `"${encoded}"`, ` ${plain} `])
        expect((await app.get('/', { Cookie: `sid=${value}` })).text, value).toBe('{"a":"1"}')
      const twice = encodeURIComponent(encoded)
      for (const value of [twice, `${plain}%`, `${plain}%zz`, `%E0%A4%A${plain}`])
        expect((await app.get('/', { Cookie: `sid=${value}` })).text, value).toBe('{}')
    })

    test('attack: the cookie of one mount is no cookie of another with the same secret', async () => {
      const opened = open()
      const shop = site(kind, opened, { session: { name: 'shop.sid' } })
      const admin = site(kind, opened, { session: { name: 'admin.sid' } })
      const someone = shop.browser()
      await someone.get('/login?user=1')
      expect(await someone.json('/')).toEqual({ userId: '1' })
      const copied = { Cookie: `admin.sid=${someone.cookie()}` }
      expect((await admin.get('/', copied)).text).toBe('{}')
      const id = (await someone.json('/id')).id
      const express = encodeURIComponent(signId(id, SECRET, '', 'express'))
      expect((await admin.get('/', { Cookie: `admin.sid=${express}` })).text).toBe('{}')
    })

    test('attack: a cookie that was accepted under one name is not accepted under another', async () => {
      const opened = open()
      const { app, someone } = start({ session: { name: ['new.sid', 'old.sid'] } }, opened)
      await someone.get('/set?key=a&value=1')
      const value = someone.jar.get('new.sid')!
      for (const name of ['new.sid', 'old.sid', 'new.sid', 'old.sid'])
        expect((await app.get('/', { Cookie: `${name}=${value}` })).text).toBe(
          name === 'new.sid' ? '{"a":"1"}' : '{}',
        )
    })

    test('a cookie that express-session signed is read while legacySignature says so, and signed anew with rewrite', async () => {
      const opened = open()
      const before = site(kind, opened, { session: { legacySignature: 'write' } }).browser()
      await before.get('/set?key=a&value=1')
      const { id } = await before.json('/id')
      expect(decodeURIComponent(before.cookie()!)).toBe(signId(id, SECRET, 'sid', 'express'))
      const strict = site(kind, opened, {})
      expect((await strict.get('/', { Cookie: pairs(before) })).text).toBe('{}')
      expect(strict.warnings.join()).toContain("legacySignature: 'read'")
      const reading = site(kind, opened, { session: { legacySignature: 'read' } }).browser()
      reading.jar.set('sid', before.cookie()!)
      expect(await reading.json('/')).toEqual({ a: '1' })
      expect(reading.cookie()).toBe(before.cookie())
      const rewriting = site(kind, opened, {
        session: { legacySignature: 'read', rewrite: true },
      }).browser()
      rewriting.jar.set('sid', before.cookie()!)
      expect(await rewriting.json('/')).toEqual({ a: '1' })
      expect((await strict.get('/', { Cookie: pairs(rewriting) })).text).toBe('{"a":"1"}')
    })

    test('name: a list renames the cookie; the first is sent, all are read', async () => {
      const opened = open()
      const before = site(kind, opened, { session: { name: 'old.sid' } }).browser()
      await before.get('/set?key=a&value=1')
      const now = site(kind, opened, { session: { name: ['new.sid', 'old.sid'] } }).browser()
      now.jar.set('old.sid', before.cookie()!)
      expect(await now.json('/')).toEqual({ a: '1' })
      const later = site(kind, opened, { session: { name: 'new.sid' } }).browser()
      later.jar.set('new.sid', now.jar.get('new.sid')!)
      expect(await later.json('/')).toEqual({ a: '1' })
    })
  })
})
