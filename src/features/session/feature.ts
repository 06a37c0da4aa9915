/** Sessions as a feature: a request in, a Plan out. */
import { isUnavailable } from '../../errors.ts'
import { cookieValues, decodeCookieValue, serializeCookie } from '../../http/cookies.ts'
import {
  passThrough,
  type Exchange,
  type Feature,
  type HeaderFields,
  type PassPlan,
  type Plan,
} from '../../http/exchange.ts'
import { problemReply } from '../../http/problem.ts'
import type { CookieSettings } from './cookie.ts'
import type { SessionEngine, Loaded } from './engine.ts'
import { Memo, verified } from './id.ts'
import type { Session } from './session.ts'
import type { Visitor, VisitOptions } from './keeper.ts'
import { Visit, type Sent } from './visit.ts'

/** What a mount goes by, its options checked and their defaults filled in. */
export interface Mount<Native> extends Omit<VisitOptions, 'tenant' | 'cookie' | 'failed'> {
  name: string | undefined
  /** Milliseconds where express-session has them. */
  cookie: CookieSettings | ((native: Native) => CookieSettings)
  proxy: boolean | undefined
  lazy: boolean
  skip: ((native: Native) => boolean | Promise<boolean>) | undefined
  fail: 'closed' | 'open'
  tenant: ((native: Native) => Promise<string | undefined>) | undefined
  /** `req.sessionStore`. */
  store: object
  warn(message: string): void
}

/** What is known before the feature's turn. */
interface Early {
  readonly sent: Sent | undefined
  readonly loading: Promise<Loaded | undefined> | undefined
}

/** How many verified cookies are remembered, at least and at most. */
const REMEMBERED = 5_000

/** Sessions as a feature. */
export function sessionFeature<Native>(
  engine: SessionEngine,
  mount: Mount<Native>,
): Feature<Native, Early> {
  const { lazy, skip, tenant, fail, store, warn } = mount
  const { secrets } = engine.options
  const memo = new Memo<Sent>(REMEMBERED)
  const { cookie: given } = mount
  const settingsOf = typeof given === 'function' ? given : () => given
  const fixed = typeof given === 'function' ? undefined : given

  const { rolling, resave, saveUninitialized, unset, grace, genid } = mount
  const failed = (error: unknown) => void (isUnavailable(error) && report(error, 'closed'))
  const waysWith = (settings: CookieSettings, secure: boolean | undefined): VisitOptions => ({
    rolling,
    resave,
    saveUninitialized,
    unset,
    grace,
    genid,
    tenant: undefined,
    cookie: { ...settings, secure },
    failed,
  })
  // Most mounts have two ways for ever: over HTTPS, and not.
  const known =
    fixed && ([true, false] as const).map((secure) => waysWith(fixed, ofKind(fixed, secure)))

  /** How a request's session is dealt with, but for its tenant. */
  function waysOf(x: Exchange<Native>): VisitOptions {
    const settings = fixed ?? settingsOf(x.native)
    const isOverHttps = settings.secure === 'auto' && isSecure(mount, x)
    return known?.[isOverHttps ? 0 : 1] ?? waysWith(settings, ofKind(settings, isOverHttps))
  }

  /** The place that a cookie's value names, if it is well signed. */
  function read(value: string, whose: string | undefined): Sent | undefined {
    const key = whose === undefined ? value : `${whose}\n${value}`
    const known = memo.get(key)
    if (known) return known
    const plain = decodeCookieValue(value)
    const found = plain === undefined ? undefined : verified(plain, secrets)
    if (!found) return undefined
    const sent: Sent = { place: engine.place(found.id, whose), stale: found.secret > 0 }
    memo.set(key, sent)
    return sent
  }

  /** The session that the browser names. Two of them, both well signed, are believed neither (cookie tossing). */
  function sentBy(x: Exchange<Native>, name: string, whose: string | undefined): Sent | undefined {
    let sent: Sent | undefined
    for (const value of cookieValues(x.header('cookie'), name)) {
      const one = read(value, whose)
      if (one && sent && one.place.id !== sent.place.id) {
        engine.tell('two-cookies', undefined)
        return undefined
      }
      sent ??= one
    }
    return sent
  }

  function early(x: Exchange<Native>, { cookie, tenant }: VisitOptions): Early {
    if (!isBelow(x.url, cookie.path)) return { sent: undefined, loading: undefined }
    const sent = sentBy(x, nameFor(mount, x, cookie), tenant)
    return { sent, loading: sent && engine.load(sent.place, x.budget) }
  }

  function handle(x: Exchange<Native>, before: Early | undefined): Promise<Plan> | Plan {
    if ((x.native as { session?: unknown }).session) return passThrough
    return skip || tenant ? considered(x, skip, tenant) : planOf(x, waysOf(x), before)
  }

  async function considered(
    x: Exchange<Native>,
    skips: typeof skip,
    tenantOf: typeof tenant,
  ): Promise<Plan> {
    if (await skips?.(x.native)) return passThrough
    const ways = waysOf(x)
    if (!isBelow(x.url, ways.cookie.path)) return passThrough
    const whose = await tenantOf?.(x.native)
    return planOf(x, whose === undefined ? ways : { ...ways, tenant: whose }, undefined)
  }

  function planOf(
    x: Exchange<Native>,
    ways: VisitOptions,
    before: Early | undefined,
  ): Promise<Plan> | Plan {
    const { cookie } = ways
    if (!isBelow(x.url, cookie.path)) return passThrough
    const name = nameFor(mount, x, cookie)
    if (lazy) return lazily(x, name, async () => begin(x, ways, early(x, ways)))
    const taken = (visit: Visit): Plan => ({
      assign: namesOf(visit),
      ...partsOf(x, name, () => visit),
    })
    const begun = begin(x, ways, before ?? early(x, ways))
    return begun instanceof Visit
      ? taken(begun)
      : begun.then(taken, (error) => without(x, ways, error))
  }

  /** The visit of a request: at once where there is nothing to wait for. */
  function begin(
    x: Exchange<Native>,
    ways: VisitOptions,
    { sent, loading }: Early,
  ): Promise<Visit> | Visit {
    const visitor = x as Visitor
    if (sent === undefined || loading === undefined) return new Visit(engine, visitor, ways)
    return loading.then((loaded) => {
      const visit = new Visit(engine, visitor, ways, sent, loaded)
      return sent.stale && loaded ? visit.rehome().then(() => visit) : visit
    })
  }

  const namesOf = (visit: Visit): Record<string, unknown> => ({
    session: visit.session,
    sessionID: visit.id,
    sessionStore: store,
  })

  function lazily(x: Exchange<Native>, name: string, begin: () => Promise<Visit>): PassPlan {
    let visit: Visit | undefined
    let beginning: Promise<Session> | undefined
    const getSession = (): Promise<Session> => {
      beginning ??= begin().then((made) => {
        visit = made
        Object.assign(x.native as object, namesOf(made))
        return made.session
      })
      return beginning
    }
    return { assign: { getSession }, ...partsOf(x, name, () => visit) }
  }

  /** How a session takes part in the response. */
  function partsOf(x: Exchange<Native>, name: string, visitOf: () => Visit | undefined): PassPlan {
    return {
      headers: () => fieldOf(x, name, visitOf()),
      beforeEnd: () => visitOf()?.seal(),
    }
  }

  function fieldOf(x: Exchange<Native>, name: string, visit: Visit | undefined): HeaderFields {
    const value = visit?.cookie()
    if (visit === undefined || value === undefined) return {}
    const { cookie } = visit.session
    const secure = isSecure(mount, x)
    const isAuto = fixed?.secure === 'auto'
    if (cookie.secure && !secure) {
      warn(
        `The session cookie ${name} is not sent: it is Secure, and the request did not come over HTTPS. Behind a proxy, tell the framework (app.set('trust proxy', 1); new Koa({ proxy: true, maxIpsCount: 1 })), or use cookie: { secure: 'auto' }.`,
      )
      return {}
    }
    if (!cookie.secure && !secure && isAuto)
      warn(
        `The session cookie ${name} goes out without Secure, since the request did not come over HTTPS. Behind a proxy that ends TLS, tell the framework: app.set('trust proxy', 1); new Koa({ proxy: true, maxIpsCount: 1 }).`,
      )
    const field = serializeCookie(
      name,
      value,
      value === '' ? { ...cookie.data, expires: new Date(0) } : cookie.data,
    )
    return { 'Set-Cookie': [field] }
  }

  /** The session cannot be loaded. Nobody is logged out by that, and nobody gets another cookie. */
  function without(x: Exchange<Native>, ways: VisitOptions, error: unknown): Plan {
    if (!isUnavailable(error)) throw error
    report(error, fail)
    if (fail === 'open') {
      const visit = new Visit(engine, x as Visitor, { ...ways, tenant: undefined })
      return { assign: namesOf(visit) }
    }
    const detail = 'The session could not be loaded. Try again shortly.'
    const reply = problemReply({ title: 'Service Unavailable', status: 503, detail }, x)
    return { reply: { ...reply, headers: { ...reply.headers, 'Retry-After': '2' } } }
  }

  function report(
    { reason, uncertain }: { reason: string; uncertain: boolean },
    rule: string,
  ): void {
    const { events } = engine.context
    if (events.hasListeners('unavailable'))
      events.emit('unavailable', {
        feature: 'session',
        name: engine.options.name,
        reason,
        uncertain,
        rule,
      })
  }

  const isEarly = !lazy && !skip && !tenant && fixed !== undefined
  return {
    name: 'session',
    onBackground: 'skip',
    ...(isEarly && {
      prepare(x) {
        if ((x.native as { session?: unknown }).session) return undefined
        const begun = early(x, waysOf(x))
        // Its failure is handle's to tell; until then nobody may call it unhandled.
        begun.loading?.catch(() => {})
        return begun
      },
    }),
    handle,
  }
}

/** The `secure` of a cookie. */
const ofKind = ({ secure }: CookieSettings, isOverHttps: boolean): boolean | undefined =>
  secure === 'auto' ? isOverHttps : secure

/** Is a URL below the cookie's path? */
const isBelow = (url: string, path: string | undefined): boolean =>
  path === undefined || path === '/' || (url.split('?', 1)[0] || '/').startsWith(path)

function isSecure({ proxy }: { proxy: boolean | undefined }, x: Exchange): boolean {
  if (proxy === undefined) return x.secure
  const { socket } = x.native as { socket?: { encrypted?: boolean } }
  if (socket?.encrypted === true || !proxy) return socket?.encrypted === true
  return x.header('x-forwarded-proto')?.split(',', 1)[0]!.trim().toLowerCase() === 'https'
}

/** `__Host-` (RFC 6265bis, 4.1.3.2) keeps other hosts and paths from setting the cookie, where it may be used. */
function nameFor<Native>(
  { name, proxy }: Mount<Native>,
  x: Exchange,
  { domain, path = '/', secure }: CookieSettings,
): string {
  if (name !== undefined) return name
  const isHostOnly = domain === undefined && path === '/' && secure !== false
  return isHostOnly && isSecure({ proxy }, x) ? '__Host-sid' : 'sid'
}
