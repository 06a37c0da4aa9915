/** `ctx.session`: the members of koa-session beside those of express-session. */
import type { SessionValues } from './merge.ts'
import type { SessionCookie } from './session-cookie.ts'
import {
  reserveNames,
  Session,
  SESSION_MEMBERS,
  settle,
  valuesOf,
  type SessionCallback,
  type SessionHost,
} from './session.ts'

/** What koa-session's members need beside express-session's. */
export interface KoaSessionHost extends SessionHost {
  /** True if the request brought no session that is still valid. */
  readonly isNew: boolean
  /** Stores the session if it has changed. */
  commit(session: Session): Promise<void>
  /** Stores the session under a new ID, with its data. */
  renewId(session: Session): Promise<void>
}

export class KoaSession extends Session {
  constructor(host: KoaSessionHost, id: string, cookie: SessionCookie) {
    super(host, id, cookie, KOA_MEMBERS)
  }

  get isNew(): boolean {
    return hostOf(this).isNew
  }

  get length(): number {
    return Object.keys(this).length
  }

  get populated(): boolean {
    return this.length > 0
  }

  /** Milliseconds, or `'session'` for a cookie that ends with the browser session. */
  get maxAge(): number | 'session' {
    const { originalMaxAge } = this.cookie
    return typeof originalMaxAge === 'number' ? originalMaxAge : 'session'
  }

  set maxAge(maxAge: number | 'session') {
    if (maxAge === 'session') this.cookie.expires = false
    else this.cookie.maxAge = maxAge
  }

  get externalKey(): string {
    return this.id
  }

  /**
   * Awaited, it keeps the data, as in koa-session. With a callback, as passport calls it, the data is
   * gone, as in express-session.
   */
  override regenerate(callback?: SessionCallback): this | Promise<void> {
    if (typeof callback === 'function') return super.regenerate(callback)
    const host = hostOf(this)
    return settle(this, host, host.renewId(this), undefined)
  }

  manuallyCommit(callback?: SessionCallback): this | Promise<void> {
    const host = hostOf(this)
    return settle(this, host, host.commit(this), callback)
  }

  toJSON(): SessionValues {
    return valuesOf(this)
  }
}

const hostOf = (session: Session): KoaSessionHost => Session.hostOf(session) as KoaSessionHost

const OWN_MEMBERS = ['isNew', 'length', 'populated', 'externalKey', 'manuallyCommit', 'toJSON']

const KOA_MEMBERS: ReadonlySet<string> = new Set([...SESSION_MEMBERS, 'maxAge', ...OWN_MEMBERS])

Object.defineProperty(KoaSession.prototype, 'cookie', Session.cookieProperty)
reserveNames(KoaSession.prototype, [...OWN_MEMBERS, 'regenerate'])
