/**
 * Rolling deploys: two configurations run side by side, and each visitor alternates between them,
 * forwards through the steps of docs/deploying.md and back. Nobody is logged out.
 */
import { RedisStore as ConnectRedis8 } from 'connect-redis'
import { RedisStore as ConnectRedis9 } from 'connect-redis9'
import expressSession from 'express-session'
import { Redis } from 'ioredis'
import type { Response } from 'supertest'
import { describe, expect, onTestFinished, test } from 'vitest'
import { asNodeRedis } from '../../../src/index.ts'
import { apps, proxyApps, type AppKind } from '../../support/apps.ts'
import { bothEngines, type Opened } from '../../support/engines.ts'
import { cookiesOf, SECRET, site, type Route, type Site } from './support.ts'

/** One configuration. */
interface Step {
  name: string
  session?: object
  trustProxy?: number
  /** express-session in the place of `tp.session()`: over connect-redis, or over `tp.sessionStore()`. */
  express?: 'connect-redis 8' | 'connect-redis 9' | 'sessionStore'
}

interface Visitor {
  name: string
  jar: Jar
  visits: number
  /** True if the visitor changes nothing after the login. */
  isReader: boolean
}

/** Keeps cookies by name, domain and path, as browsers do. */
class Jar {
  readonly #cookies = new Map<string, { name: string; value: string; path: string }>()

  /** The Cookie field for a path: those of longer paths first (RFC 6265, 5.4). */
  fieldFor(url: string): string {
    return [...this.#cookies.values()]
      .filter(({ path }) => url.startsWith(path))
      .sort((a, b) => b.path.length - a.path.length)
      .map(({ name, value }) => `${name}=${value}`)
      .join('; ')
  }

  keep(response: Response): void {
    for (const field of cookiesOf(response)) {
      const [pair = '', ...attributes] = field.split('; ')
      const at = pair.indexOf('=')
      const [name, value] = [pair.slice(0, at), pair.slice(at + 1)]
      const attribute = (of: string): string =>
        attributes.find((each) => each.startsWith(`${of}=`))?.slice(of.length + 1) ?? ''
      const path = attribute('Path') || '/'
      // A browser refuses such a cookie.
      if (name.startsWith('__Host-') && !attributes.includes('Secure')) continue
      const key = `${name};${attribute('Domain')};${path}`
      if (Date.parse(attribute('Expires')) === 0) this.#cookies.delete(key)
      else this.#cookies.set(key, { name, value, path })
    }
  }
}

const routes: Record<string, Route> = {
  '/app/login': async (native, tp) => {
    const user = native.headers['x-user']
    if (native.isExpressSession) {
      await new Promise<void>((resolve, reject) => {
        native.session.regenerate((error: Error | null) => (error ? reject(error) : resolve()))
      })
      native.session.userId = user
    } else {
      await tp.session.login(native, user)
    }
    native.session.visits = 0
    return {}
  },
  '/app/visit': ({ session }) => {
    if (session.userId !== undefined) session.visits++
    return { user: session.userId, visits: session.visits }
  },
  '/app/look': ({ session }) => ({ user: session.userId, visits: session.visits }),
}

const engines = bothEngines()

// A fleet with all its visitors sends more than a thousand requests.
describe.each(engines)('on the $name engine', { timeout: 90_000 }, ({ open, server }) => {
  function connectRedis(version: 'connect-redis 8' | 'connect-redis 9', prefix: string) {
    const client = new Redis(server()!.url)
    onTestFinished(() => client.disconnect())
    if (version === 'connect-redis 8') return new ConnectRedis8({ client, prefix })
    return new ConnectRedis9({ client: asNodeRedis(client) as never, prefix })
  }

  function start(kind: AppKind, opened: Opened, { session, trustProxy, express }: Step): Site {
    const legacy = `${opened.prefix}:sess:`
    const withPrefix = (options: any): object =>
      options.legacyPrefix === true ? { ...options, legacyPrefix: legacy } : options
    return site(kind, opened, {
      routes,
      session: withPrefix({ name: 'sid', ...session }),
      ...(trustProxy !== undefined && { trustProxy }),
      ...(express && {
        mount: (tp: any) => {
          const middleware = expressSession({
            secret: SECRET,
            name: 'sid',
            resave: false,
            saveUninitialized: false,
            store: express === 'sessionStore' ? tp.sessionStore() : connectRedis(express, legacy),
          })
          return (req: any, res: any, next: any) => {
            req.isExpressSession = true
            middleware(req, res, next)
          }
        },
      }),
    })
  }

  /** Takes a fleet through the steps. At each, old and new servers run side by side. */
  async function deploy(kind: AppKind, opened: Opened, steps: Step[], visitors: Visitor[]) {
    const https = { 'X-Forwarded-Proto': 'https' }
    async function get(app: Site, path: string, { jar, name }: Visitor): Promise<any> {
      const headers = { ...https, Cookie: jar.fieldFor(path), 'x-user': name }
      const response = await app.get(path, headers)
      jar.keep(response)
      expect(response.status, response.text).toBe(200)
      return JSON.parse(response.text)
    }
    const fleet = steps.map((step) => ({ ...step, app: start(kind, opened, step) }))
    for (let i = 0; i + 1 < fleet.length; i++) {
      const [before, after] = [fleet[i]!, fleet[i + 1]!]
      for (const { app, name } of [before, after]) {
        for (const isReader of [false, true]) {
          const who = `${visitors.length} from ${name}`
          const visitor = { name: who, jar: new Jar(), visits: 0, isReader }
          await get(app, '/app/login', visitor)
          visitors.push(visitor)
        }
      }
      // The old one is replaced last.
      for (const { app, name } of [before, after, before, before, after, after]) {
        for (const visitor of visitors) {
          const where = `${visitor.name}, at ${name}, while ${before.name} -> ${after.name}`
          if (!visitor.isReader) visitor.visits++
          const expected = { user: visitor.name, visits: visitor.visits }
          if (!visitor.isReader)
            expect(await get(app, '/app/visit', visitor), where).toEqual(expected)
          expect(await get(app, '/app/look', visitor), where).toEqual(expected)
        }
      }
    }
    return fleet.map(({ app }) => app.warnings)
  }

  /** Forwards, and back by the given way. */
  async function thereAndBack(kind: AppKind, forwards: Step[], back?: Step[]): Promise<void> {
    const opened = open()
    const visitors: Visitor[] = []
    const warnings = [
      ...(await deploy(kind, opened, forwards, visitors)),
      ...(await deploy(kind, opened, back ?? forwards.toReversed(), visitors)),
    ]
    expect(warnings.flat().filter((each) => each.includes('logged out'))).toEqual([])
    expect(visitors.length).toBeGreaterThanOrEqual(2 * forwards.length)
  }

  const versions = ['connect-redis 8', 'connect-redis 9'] as const
  const [k1, k2] = ['1'.repeat(32), '2'.repeat(32)]
  const some = apps.filter(({ name }) => ['Express 5', 'Express 4', 'Koa 3'].includes(name))
  const expressApps = some.filter(({ name }) => name.startsWith('Express'))

  describe.each(expressApps)('$name', (kind) => {
    test.each(kind.name === 'Express 5' ? versions : versions.slice(0, 1))(
      'a rolling deploy from %s: shared form, own form, legacy prefix dropped, and all the way back',
      async (version) => {
        if (!server()) return
        const old: Step = { name: 'express-session', express: version }
        const shared: Step = {
          name: 'shared form',
          session: { format: 'connect-redis', legacyPrefix: true },
        }
        const both: Step = { name: 'own form', session: { legacyPrefix: true } }
        const rewriting: Step = {
          name: 'own form, rewriting',
          session: { legacyPrefix: true, rewrite: true },
        }
        const own: Step = { name: 'own form only', session: {} }
        const sharedAgain: Step = {
          name: 'shared form, rewriting',
          session: { format: 'connect-redis', legacyPrefix: true, rewrite: true },
        }
        await thereAndBack(
          kind,
          [old, shared, both, rewriting, own],
          [own, both, shared, sharedAgain, old],
        )
      },
    )
  })

  describe.each(expressApps)('$name', (kind) => {
    test('a rolling deploy from express-session over tp.sessionStore(), and back', async () => {
      const old: Step = { name: 'express-session', express: 'sessionStore' }
      const write: Step = { name: 'signs as it does', session: { legacySignature: 'write' } }
      const read: Step = {
        name: 'reads its signature, rewriting',
        session: { legacySignature: 'read', rewrite: true },
      }
      const own: Step = { name: 'own signature', session: {} }
      const writeAgain: Step = {
        name: 'signs as it does, rewriting',
        session: { legacySignature: 'write', rewrite: true },
      }
      await thereAndBack(kind, [old, write, read, own], [own, read, write, writeAgain, old])
    })

    test('wrong order: express-session over tp.sessionStore() in one step: a warning says what to do', async () => {
      const opened = open()
      const old = start(kind, opened, { name: 'express-session', express: 'sessionStore' })
      const own = start(kind, opened, { name: 'own signature', session: {} })
      const jar = new Jar()
      jar.keep(await old.get('/app/login', { 'x-user': 'ada' }))
      await own.get('/app/look', { Cookie: jar.fieldFor('/app/look') })
      await expect.poll(() => own.warnings.join()).toContain("set legacySignature: 'read'")
    })
  })

  describe.each(some)('$name', (kind) => {
    test('the cookie gets another name', async () => {
      const steps: Step[] = [
        { name: 'old', session: { name: 'old.sid' } },
        { name: 'old, new', session: { name: ['old.sid', 'new.sid'] } },
        { name: 'new, old', session: { name: ['new.sid', 'old.sid'] } },
        { name: 'new', session: { name: 'new.sid' } },
      ]
      await thereAndBack(kind, steps)
    })

    test('the option user is added, and removed', async () => {
      const user = ({ session }: any): unknown => session?.userId
      await thereAndBack(kind, [
        { name: 'without', session: {} },
        { name: 'with', session: { user } },
      ])
    })

    test('the secret is rotated', async () => {
      const steps: Step[] = [
        { name: 'old', session: { secret: 'old' } },
        { name: 'old, new', session: { secret: ['old', 'new'] } },
        { name: 'new, old', session: { secret: ['new', 'old'] } },
        { name: 'new', session: { secret: 'new' } },
      ]
      await thereAndBack(kind, steps)
    })

    test('the key of the encryption is rotated', async () => {
      const steps: Step[] = [
        { name: 'old', session: { encrypt: k1 } },
        { name: 'old, new', session: { encrypt: [k1, k2] } },
        { name: 'new, old', session: { encrypt: [k2, k1] } },
        { name: 'new', session: { encrypt: k2 } },
      ]
      await thereAndBack(kind, steps)
    })

    test('encryption is switched on, and off', async () => {
      const none: Step = { name: 'none', session: {} }
      const write: Step = { name: 'write plaintext', session: { encrypt: k1, plaintext: 'write' } }
      const read: Step = { name: 'read plaintext', session: { encrypt: k1, plaintext: 'read' } }
      const strict: Step = { name: 'encrypted', session: { encrypt: k1 } }
      const rewriting = (step: Step): Step => ({
        name: `${step.name}, rewriting`,
        session: { ...step.session, rewrite: true },
      })
      await thereAndBack(
        kind,
        [none, write, read, rewriting(read), strict],
        [strict, read, write, rewriting(write), none],
      )
    })

    test('the domain of the cookie is changed, and its path', async () => {
      const cookie = (more: object): object => ({ cookie: { secure: false, ...more } })
      const steps: Step[] = [
        { name: 'host only', session: cookie({}) },
        { name: 'with a domain', session: cookie({ domain: 'example.com' }) },
        { name: 'with a path', session: cookie({ domain: 'example.com', path: '/app' }) },
      ]
      await thereAndBack(kind, steps)
    })
  })

  describe.each(proxyApps.filter((kind) => some.includes(kind)))('$name', (kind) => {
    const auto = { name: undefined, cookie: { secure: 'auto' } }
    const broken: Step = { name: 'without trust proxy', session: auto }
    const repaired: Step = { name: 'with trust proxy', session: auto, trustProxy: 1 }
    const names = ['__Host-sid', 'sid']

    test('trust proxy is repaired, so that the name of the cookie changes', async () => {
      const between: Step = {
        name: 'repaired, both names',
        session: { ...auto, name: names },
        trustProxy: 1,
      }
      await thereAndBack(kind, [broken, between, repaired])
    })

    test('a cookie of the default name gets a domain', async () => {
      const between: Step = { ...repaired, name: 'both names', session: { ...auto, name: names } }
      const domain: Step = {
        name: 'with a domain',
        session: { name: undefined, cookie: { secure: 'auto', domain: 'example.com' } },
        trustProxy: 1,
      }
      await thereAndBack(kind, [repaired, between, domain])
    })

    test.each([
      [
        'a new secret that signs before all servers know it',
        [
          { name: 'old', session: { secret: 'old' } },
          { name: 'new, old', session: { secret: ['new', 'old'] } },
        ],
        'A new secret is first added at the end of the list',
      ],
      [
        'a new key that encrypts before all servers know it',
        [
          { name: 'old', session: { encrypt: k1 } },
          { name: 'new, old', session: { encrypt: [k2, k1] } },
        ],
        'A new key is first added at the end of the list',
      ],
      [
        'encryption in one step',
        [
          { name: 'none', session: {} },
          { name: 'encrypted', session: { encrypt: k1 } },
        ],
        "first set plaintext: 'write'",
      ],
      [
        'a legacy form that is dropped, or was never mentioned',
        [
          { name: 'shared', session: { format: 'connect-redis', legacyPrefix: true } },
          { name: 'own only', session: {} },
        ],
        "set legacyPrefix: 'sess:'",
      ],
      ['trust proxy in one step', [broken, repaired], "set name: ['__Host-sid', 'sid']"],
    ] as [string, Step[], string][])(
      'wrong order: %s: a warning says what to do',
      async (_name, steps, warning) => {
        const opened = open()
        const fleet = steps.map((step) => start(kind, opened, step))
        for (const [before, after] of [fleet, fleet.toReversed()]) {
          const jar = new Jar()
          const headers = { 'X-Forwarded-Proto': 'https', 'x-user': 'ada' }
          jar.keep(await before!.get('/app/login', headers))
          await after!.get('/app/look', { ...headers, Cookie: jar.fieldFor('/app/look') })
        }
        const warnings = fleet.flatMap((each) => each.warnings)
        await expect.poll(() => fleet.flatMap((each) => each.warnings).join()).toContain(warning)
        expect(warnings.join()).not.toContain('k1')
      },
    )
  })
})
