/** `req.session.cookie`, as express-session documents it. */

/**
 * What express-session stores of a cookie, in its order: connect-redis's values contain these bytes.
 * `expires` and `originalMaxAge` are null or false for a cookie that ends with the browser session.
 */
export interface CookieData {
  /** Milliseconds that the cookie was set to last. */
  originalMaxAge: number | false | null
  /** Partitioned: one cookie jar for each top-level site (CHIPS). @default none */
  partitioned?: boolean | undefined
  /** Priority, which Chromium respects when it evicts cookies. @default none */
  priority?: 'low' | 'medium' | 'high' | undefined
  /** Expires: the moment at which the cookie ends. */
  expires?: Date | string | false | null | undefined
  /** Secure: sent over HTTPS only. `'auto'`: if the request came over HTTPS. @default 'auto' */
  secure?: boolean | 'auto' | undefined
  /** HttpOnly: hidden from scripts of the page. @default true */
  httpOnly?: boolean | undefined
  /** Domain. @default the host of the response only */
  domain?: string | undefined
  /** Path. @default '/' */
  path?: string | undefined
  /** SameSite (RFC 6265bis). True means `'strict'`. */
  sameSite?: boolean | 'lax' | 'strict' | 'none' | undefined
}

/** The attributes of a cookie without the moment at which it ends. */
export type SessionCookieAttributes = Omit<CookieData, 'expires'>

/** The cookie settings of a mount. `maxAge` is in ms. */
export type CookieSettings = Partial<
  Omit<CookieData, 'originalMaxAge' | 'expires' | 'sameSite'>
> & {
  maxAge?: number | Date | false | null | undefined
  /** Expires: the moment at which the cookie ends. @default none: `maxAge` applies */
  expires?: Date | false | null | undefined
  /**
   * SameSite (RFC 6265bis). True means `'strict'`. `'auto'`: `'none'` over HTTPS, else `'lax'`.
   * @default 'lax'
   */
  sameSite?: CookieData['sameSite'] | 'auto'
}

/** The settings of one request's cookie: `'auto'` is resolved. */
export type ResolvedCookieSettings = CookieSettings & {
  secure?: boolean | undefined
  sameSite?: CookieData['sameSite']
}

/** The last moment that an Expires attribute can name: it has four digits for the year (RFC 6265, 5.1.1). */
const MAX_DATE = Date.UTC(9999, 11, 31, 23, 59, 59)

/** The cookie of one session. `maxAge` counts by the store's clock, so the application's clock does not matter. */
export class SessionCookie {
  originalMaxAge: number | false | null = null
  path: string | undefined = '/'
  httpOnly: boolean | undefined = true
  domain: string | undefined
  secure: boolean | undefined
  sameSite: CookieData['sameSite']
  priority: CookieData['priority']
  partitioned: boolean | undefined
  readonly #now: () => number
  #expires: Date | false | null | undefined = null

  constructor(settings: ResolvedCookieSettings, now: () => number) {
    this.#now = now
    const { maxAge, expires, secure, domain, sameSite, priority, partitioned } = settings
    if ('path' in settings) this.path = settings.path
    if ('httpOnly' in settings) this.httpOnly = settings.httpOnly
    this.domain = domain
    this.secure = secure
    this.sameSite = sameSite
    this.priority = priority
    this.partitioned = partitioned
    if (expires !== undefined) this.expires = expires
    if (maxAge !== undefined) this.maxAge = maxAge
  }

  get expires(): Date | false | null | undefined {
    return this.#expires
  }

  /** @throws TypeError for an invalid date */
  set expires(date: Date | string | number | false | null | undefined) {
    this.#expires =
      typeof date === 'string' || typeof date === 'number' || date instanceof Date
        ? validDate(date)
        : date
    this.originalMaxAge = this.maxAge ?? null
  }

  /** Milliseconds left. Null, false or undefined for a cookie that ends with the browser session. */
  get maxAge(): number | false | null | undefined {
    return this.#expires instanceof Date ? this.#expires.valueOf() - this.#now() : this.#expires
  }

  /** @throws TypeError unless `ms` is a number, a Date, false, null or undefined */
  set maxAge(ms: number | Date | false | null | undefined) {
    if (ms && typeof ms !== 'number' && !(ms instanceof Date))
      throw new TypeError('maxAge must be a number or Date')
    if (typeof ms !== 'number') {
      this.expires = ms
    } else {
      this.#expires = validDate(this.#now() + ms)
      this.originalMaxAge = ms
    }
  }

  /** Restarts the cookie's lifetime, if it has one. */
  renew(at: number = this.#now()): void {
    if (typeof this.originalMaxAge === 'number') this.#expires = validDate(at + this.originalMaxAge)
  }

  get data(): CookieData {
    const { originalMaxAge, partitioned, priority, secure, httpOnly, domain, path, sameSite } = this
    return {
      originalMaxAge,
      partitioned,
      priority,
      expires: this.#expires,
      secure,
      httpOnly,
      domain,
      path,
      sameSite,
    }
  }

  toJSON(): CookieData {
    return this.data
  }

  /** Takes over a stored cookie. An attribute that cannot be right is left as it is. */
  restore(stored: CookieData): void {
    const { path, domain, secure, httpOnly, sameSite, priority, partitioned } = stored
    if (isAttribute(path)) this.path = path
    if (isAttribute(domain)) this.domain = domain
    if (typeof secure === 'boolean') this.secure = secure
    if (typeof httpOnly === 'boolean') this.httpOnly = httpOnly
    if (typeof sameSite === 'boolean' || SAME_SITE.has(sameSite)) this.sameSite = sameSite
    if (PRIORITY.has(priority)) this.priority = priority
    if (typeof partitioned === 'boolean') this.partitioned = partitioned
    const { expires, originalMaxAge } = stored
    const time = expires ? new Date(expires).getTime() : Number.NaN
    this.#expires = Number.isNaN(time) ? (expires === false ? false : null) : validDate(time)
    this.originalMaxAge =
      typeof originalMaxAge === 'number' || originalMaxAge === false ? originalMaxAge : null
  }

  /** All attributes except the moment of expiry, to compare with later. */
  get attributes(): SessionCookieAttributes {
    const { originalMaxAge, partitioned, priority, secure, httpOnly, domain, path, sameSite } = this
    return { originalMaxAge, partitioned, priority, secure, httpOnly, domain, path, sameSite }
  }

  /** Returns whether all attributes except the moment of expiry are as they were. */
  isAsBefore(before: SessionCookieAttributes | undefined): boolean {
    return (
      before !== undefined &&
      this.originalMaxAge === before.originalMaxAge &&
      this.path === before.path &&
      this.domain === before.domain &&
      this.sameSite === before.sameSite &&
      this.secure === before.secure &&
      this.httpOnly === before.httpOnly &&
      this.priority === before.priority &&
      this.partitioned === before.partitioned
    )
  }
}

const SAME_SITE: ReadonlySet<unknown> = new Set(['lax', 'strict', 'none'])
const PRIORITY: ReadonlySet<unknown> = new Set(['low', 'medium', 'high'])

/** True for a string that can stand in an attribute (RFC 6265, 4.1.1). */
const isAttribute = (value: unknown): value is string =>
  typeof value === 'string' && /^[\x20-\x3A\x3C-\x7E]*$/.test(value)

/** Returns a date that an Expires attribute can name. @throws TypeError for an invalid date */
function validDate(date: Date | string | number): Date {
  const time = typeof date === 'number' ? date : new Date(date).getTime()
  const valid = new Date(Math.min(time, MAX_DATE))
  if (Number.isNaN(valid.getTime())) throw new TypeError('The expiry date of a cookie is invalid.')
  return valid
}
