/**
 * Where `tp.session()` differs from express-session on purpose. Each entry names the sentence of
 * docs/sessions.md that says so, and what either does.
 */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { describeSubjects, type RunningSubject } from './express-session-subjects.ts'
import { cookiesOf, gate, within, type Route } from './support.ts'

interface Difference {
  /** A sentence of docs/sessions.md. */
  documented: string
  observe(subject: RunningSubject): Promise<unknown>
  /** What express-session does over its MemoryStore. */
  express: unknown
  /** What express-session does over `tp.sessionStore()`. Default: the same. */
  overStore?: unknown
  turnpike: unknown
}

/** What a visitor sees after a request that began before another, and ended after it. */
async function overlapping({ start }: RunningSubject, inner: string): Promise<unknown> {
  const door = gate()
  const routes: Record<string, Route> = {
    '/slow': async ({ session }) => {
      session.slow = 1
      await door.wait()
      return {}
    },
  }
  const app = start({}, { routes })
  const [someone, other] = [app.browser(), app.browser()]
  await someone.get('/set?key=a&value=1')
  other.jar.set('sid', someone.cookie()!)
  await within(someone, '/slow', door, inner)
  return await other.json('/')
}

const DIFFERENCES: Record<string, Difference> = {
  'the defaults': {
    documented: '`resave` and `saveUninitialized` are false by default',
    async observe({ start }) {
      const unset = { name: undefined, resave: undefined, saveUninitialized: undefined }
      const app = start({ ...unset, cookie: undefined })
      const attributes = (path: string): Promise<string[]> =>
        app.get(path).then((sent) => cookiesOf(sent).map((field) => field.replace(/=s%[^;]+/, '')))
      return [await attributes('/'), await attributes('/set?key=a&value=1')]
    },
    express: [['connect.sid; Path=/; HttpOnly'], ['connect.sid; Path=/; HttpOnly']],
    turnpike: [[], ['sid; Path=/; HttpOnly; SameSite=Lax']],
  },
  'a missing secret': {
    documented: 'A missing `secret` is an error at the start',
    async observe({ start }) {
      try {
        return (await start({ secret: undefined }).get('/')).status
      } catch {
        return 'an error at the start'
      }
    },
    express: 500,
    turnpike: 'an error at the start',
  },
  'one cookie under two names': {
    documented: "The signature covers the cookie's name",
    async observe({ start }) {
      const app = start({ name: 'one' })
      const response = await app.get('/set?key=a&value=1')
      const value = /^one=([^;]+)/.exec(cookiesOf(response)[0]!)![1]!
      const { createHmac } = await import('node:crypto')
      const [id, mac] = decodeURIComponent(value).slice(2).split('.') as [string, string]
      const plain = createHmac('sha256', 'a secret of the tests').update(id).digest('base64')
      return plain.replace(/=+$/, '') === mac
    },
    express: true,
    turnpike: false,
  },
  'a method without a callback': {
    documented: 'Methods without a callback return a promise',
    async observe({ start }) {
      const routes: Record<string, Route> = {
        '/save': ({ session }) => ({ isPromise: session.save() instanceof Promise }),
      }
      return await start({}, { routes }).browser().json('/save')
    },
    express: { isPromise: false },
    turnpike: { isPromise: true },
  },
  'a name of a member as the name of data': {
    documented: 'Data cannot have the name of a member',
    async observe({ start }) {
      const routes: Record<string, Route> = {
        '/reserved': ({ session }) => {
          try {
            session.reload = 'data'
            return { accepted: true }
          } catch {
            return { accepted: false }
          }
        },
      }
      return await start({}, { routes }).browser().json('/reserved')
    },
    express: { accepted: true },
    turnpike: { accepted: false },
  },
  'the option store': {
    documented: 'There is no `store` option',
    async observe({ start }) {
      try {
        start({ store: {} })
        return 'accepted'
      } catch (error) {
        return (error as { code?: string }).code
      }
    },
    express: 'accepted',
    turnpike: 'TP_OPTION',
  },
  "an ID in cookie-parser's cookies only": {
    documented: "cookie-parser's `req.cookies` and `req.signedCookies` are not read",
    async observe({ start, isKoa }) {
      let id: string | undefined
      const parsed = (native: any, second: any, third?: any): unknown => {
        native.signedCookies = { sid: id }
        return (isKoa ? second : third)()
      }
      const app = start({}, { before: () => [parsed] })
      const someone = app.browser()
      await someone.get('/set?key=a&value=1')
      id = (await someone.json('/id')).id
      return JSON.parse((await app.get('/')).text)
    },
    express: { a: '1' },
    turnpike: {},
  },
  'two requests at once': {
    documented: 'Two requests at once lose nothing',
    observe: (subject) => overlapping(subject, '/set?key=b&value=2'),
    express: { a: '1', slow: 1 },
    overStore: { a: '1', b: '2', slow: 1 },
    turnpike: { a: '1', b: '2', slow: 1 },
  },
  'a session that is destroyed during another request': {
    documented: 'A save never brings back a session that was destroyed meanwhile',
    async observe(subject) {
      return await overlapping(subject, '/destroy')
    },
    express: { a: '1', slow: 1 },
    overStore: {},
    turnpike: {},
  },
}

const page = readFileSync(new URL('../../../docs/sessions.md', import.meta.url), 'utf8')

test.each(Object.values(DIFFERENCES))('docs/sessions.md says: $documented', ({ documented }) => {
  expect(page).toContain(documented)
})

describeSubjects((subject) => {
  test.each(Object.entries(DIFFERENCES))('%s', async (_name, difference) => {
    const { express, overStore = express, turnpike, observe } = difference
    const expected = subject.isOwn ? turnpike : subject.isReference ? express : overStore
    expect(await observe(subject)).toEqual(expected)
  })
})
