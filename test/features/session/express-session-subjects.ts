/**
 * What the cases of express-session's README run against: `tp.session()` in every framework,
 * express-session over `tp.sessionStore()`, and express-session over its own MemoryStore, the reference.
 */
import expressSession from 'express-session'
import { afterEach, beforeEach, describe, vi } from 'vitest'
import { durationOption } from '../../../src/duration.ts'
import { testStore } from '../../../src/testing.ts'
import { apps, proxyApps, type AppKind } from '../../support/apps.ts'
import { bothEngines, type Opened } from '../../support/engines.ts'
import {
  ageing,
  cookiesOf,
  queryOf,
  site,
  type Route,
  type Site,
  type SiteOptions,
} from './support.ts'

type Done = (error?: Error) => void
/** Waits for a method that takes a callback. */
export const called = (work: (done: Done) => void): Promise<void> =>
  new Promise((resolve, reject) => work((error) => (error ? reject(error) : resolve())))

/** Routes that work with both, by callbacks. */
const routes: Record<string, Route> = {
  '/regenerate': async (native) => {
    const before = native.sessionID
    await called((done) => native.session.regenerate(done))
    return {
      before,
      after: native.sessionID,
      same: native.session.id === native.sessionID,
      data: { ...native.session, cookie: undefined },
    }
  },
  '/destroy': async (native) => {
    const { session } = native
    const result: { during?: unknown } = {}
    await called((done) => {
      session.destroy(done)
      result.during = native.session ?? null
    })
    return result
  },
  '/reload': async (native) => {
    native.session.unsaved = 1
    await called((done) => native.session.reload(done))
    return { ...native.session, cookie: undefined }
  },
  '/save': async (native) => {
    native.session.saved = 1
    await called((done) => native.session.save(done))
    return {}
  },
  '/touch': (native) => ({
    same: native.session.touch() === native.session,
    reset: native.session.resetMaxAge() === native.session,
  }),
  '/unset': (native) => {
    native.session = null
    return {}
  },
  '/delete': (native) => {
    delete native.session
    return {}
  },
  '/cookie': ({ session }) => {
    const { maxAge, originalMaxAge, httpOnly, path } = session.cookie
    return { maxAge, originalMaxAge, httpOnly, path, expires: session.cookie.expires }
  },
  '/remember': (native) => {
    native.session.remembered = true
    native.session.cookie.maxAge = Number(queryOf(native, 'ms'))
    return {}
  },
  '/expires': (native) => {
    native.session.a = 1
    native.session.cookie.expires = new Date(Date.UTC(2037, 0, 1))
    return {}
  },
  '/store': async (native) => {
    const found: any = await new Promise((resolve, reject) => {
      native.sessionStore.get(native.sessionID, (error: Error | null, value: unknown) =>
        error ? reject(error) : resolve(value),
      )
    })
    return { found: found ? { ...found, cookie: typeof found.cookie } : null }
  },
  '/unticked': ({ session }) => {
    session.remembered = true
    session.cookie.expires = false
    return { maxAge: session.cookie.maxAge }
  },
  '/store/all': async ({ sessionStore }) => {
    const all = await stored<object>((done) => sessionStore.all(done))
    return Object.values(all).map(({ cookie, id: _id, ...data }: any) => [typeof cookie, data])
  },
  '/store/length': async ({ sessionStore }) => ({
    length: await stored<number>((done) => sessionStore.length(done)),
  }),
  '/store/clear': async ({ sessionStore }) => {
    await stored((done) => sessionStore.clear(done))
    return {}
  },
  '/store/destroy': async (native) => {
    await stored((done) => native.sessionStore.destroy(queryOf(native, 'id'), done))
    return {}
  },
  '/store/set': async ({ sessionStore, session }) => {
    const value = { cookie: session.cookie, put: true }
    await stored((done) => sessionStore.set('an-id-of-its-own', value, done))
    const found = await stored<any>((done) => sessionStore.get('an-id-of-its-own', done))
    return { put: found.put }
  },
  '/store/touch': async ({ sessionStore, session, sessionID }) => {
    await stored((done) => sessionStore.touch(sessionID, session, done))
    return {}
  },
  '/kinds': (native) => ({
    id: typeof native.session.id,
    sessionID: typeof native.sessionID,
    store: typeof native.sessionStore.get,
    methods: ['regenerate', 'destroy', 'reload', 'save', 'touch', 'resetMaxAge'].map(
      (name) => typeof native.session[name],
    ),
  }),
  '/deep/path': ({ session }) => ({ has: session !== undefined }),
}

/** Returns the result of a method of a store. */
export const stored = <Value>(
  call: (done: (error: Error | null, value?: Value) => void) => void,
): Promise<Value> =>
  new Promise((resolve, reject) =>
    call((error, value) => (error ? reject(error) : resolve(value as Value))),
  )

interface Subject {
  name: string
  kind: AppKind
  mount: SiteOptions['mount']
}

const own: Subject[] = apps.map((kind) => ({
  name: `tp.session() in ${kind.name}`,
  kind,
  mount: undefined,
}))
const theirs: Subject[] = apps.slice(0, 2).map((kind) => ({
  name: `express-session over tp.sessionStore() in ${kind.name}`,
  kind,
  mount: (tp, { ttl, touchAfter, ...options }: any) =>
    expressSession({
      name: 'sid',
      resave: false,
      saveUninitialized: false,
      ...options,
      store: tp.sessionStore({
        ...(ttl && { ttl }),
        ...(touchAfter !== undefined && { touchAfter }),
      }),
    }),
}))

const memory: Subject[] = apps.slice(0, 2).map((kind) => ({
  name: `express-session over its MemoryStore in ${kind.name}`,
  kind,
  mount: (_tp, options: any) =>
    expressSession({
      name: 'sid',
      resave: false,
      saveUninitialized: false,
      ...options,
      store: new expressSession.MemoryStore(),
    }),
}))

/** MemoryStore goes by the clock of the process. */
const openReference = (): Opened => {
  const turn = async (ms: number): Promise<void> => void vi.setSystemTime(Date.now() + ms)
  return {
    store: testStore(),
    prefix: 'tp',
    advance: (time) => turn(durationOption(time, 'advance()', 'time')),
    back: (time) => turn(-durationOption(time, 'back()', 'time')),
  }
}

const grounds = bothEngines().map((engine) => ({
  name: `the ${engine.name} engine`,
  open: ageing(engine),
  subjects: [...own, ...theirs],
}))
const reference = { name: 'the reference', open: openReference, subjects: memory }

export interface Started extends Site, Pick<Opened, 'advance'> {
  /** The clock that the cookies go by. */
  now(): number
}

export interface RunningSubject {
  /** True for `tp.session()`. */
  isOwn: boolean
  /** True for express-session over its MemoryStore. */
  isReference: boolean
  isKoa: boolean
  /** False for node:http. */
  hasTrustProxy: boolean
  /** Starts an application. @param session options of the session middleware */
  start(session?: object, more?: SiteOptions): Started
  /** Returns the first Set-Cookie field of a new session. */
  cookieWith(
    cookie: object,
    headers?: Record<string, string>,
    session?: object,
  ): Promise<string | undefined>
}

/** Defines the same tests for each subject. */
export function describeSubjects(define: (subject: RunningSubject) => void): void {
  describe.each([...grounds, reference])('$name', ({ open, subjects }) => {
    const isReference = open === openReference
    beforeEach(() => {
      if (isReference) vi.useFakeTimers({ toFake: ['Date'] })
    })
    afterEach(() => {
      vi.useRealTimers()
    })

    describe.each(subjects)('$name', ({ kind, mount }) => {
      const start = (session: object = {}, more: SiteOptions = {}): Started => {
        const opened = open()
        const options: SiteOptions = { ...more, session, routes: { ...routes, ...more.routes } }
        if (mount) options.mount = mount
        return Object.assign(site(kind, opened, options), {
          advance: opened.advance,
          now: mount ? Date.now : () => opened.store.now(),
        })
      }
      define({
        isOwn: mount === undefined,
        isReference,
        isKoa: kind.name.startsWith('Koa'),
        hasTrustProxy: proxyApps.includes(kind),
        start,
        async cookieWith(cookie, headers = {}, session = {}) {
          const app = start({ cookie: { secure: false, ...cookie }, ...session })
          return cookiesOf(await app.get('/set?key=a&value=1', headers))[0]
        },
      })
    })
  })
}
