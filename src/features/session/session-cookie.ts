/** `req.session.cookie`, as express-session documents it. */

/** What express-session stores of a cookie, in its order: connect-redis's values contain these bytes. */
export interface CookieData {
  originalMaxAge: number | null
  partitioned?: boolean | undefined
  priority?: 'low' | 'medium' | 'high' | undefined
  expires?: Date | string | null | undefined
  secure?: boolean | 'auto' | undefined
  httpOnly?: boolean | undefined
  domain?: string | undefined
  path?: string | undefined
  sameSite?: boolean | 'lax' | 'strict' | 'none' | undefined
}

/** The cookie settings of a mount. `maxAge` is in ms. */
export type CookieSettings = Partial<Omit<CookieData, 'originalMaxAge' | 'expires'>> & {
  maxAge?: number | null | undefined
  expires?: Date | null | undefined
}

/** The cookie of one session. `maxAge` counts by the store's clock, so the application's clock does not matter. */
export class SessionCookie {
  originalMaxAge: number | null = null
  path: string | undefined = '/'
  httpOnly: boolean | undefined = true
  domain: string | undefined
  secure: boolean | undefined
  sameSite: CookieData['sameSite']
  priority: CookieData['priority']
  partitioned: boolean | undefined
  readonly #now: () => number
  #expires: Date | null | undefined = null

  constructor(settings: CookieSettings, now: () => number) {
    this.#now = now
    const { maxAge, expires, secure, domain, sameSite, priority, partitioned } = settings
    if ('path' in settings) this.path = settings.path
    if ('httpOnly' in settings) this.httpOnly = settings.httpOnly
    this.domain = domain
    this.sameSite = sameSite
    this.priority = priority
    this.partitioned = partitioned
    if (secure !== 'auto') this.secure = secure
    if (expires !== undefined) this.expires = expires
    if (maxAge !== undefined) this.maxAge = maxAge
  }

  get expires(): Date | null | undefined {
    return this.#expires
  }

  set expires(date: Date | null | undefined) {
    this.#expires = date
    this.originalMaxAge = this.maxAge ?? null
  }

  /** Milliseconds left; null for a cookie that ends with the browser session. */
  get maxAge(): number | null | undefined {
    return this.#expires instanceof Date ? this.#expires.valueOf() - this.#now() : this.#expires
  }

  /** @throws TypeError unless `ms` is a number, a Date, null or undefined */
  set maxAge(ms: number | Date | null | undefined) {
    if (ms && typeof ms !== 'number' && !(ms instanceof Date))
      throw new TypeError('maxAge must be a number or Date')
    if (typeof ms !== 'number') {
      this.expires = ms
    } else {
      this.#expires = new Date(this.#now() + ms)
      this.originalMaxAge = ms
    }
  }

  /** Restarts the cookie's lifetime. */
  renew(at: number = this.#now()): void {
    if (this.originalMaxAge === null) return
    this.#expires = new Date(at + this.originalMaxAge)
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

  /** Takes over what was stored. */
  restore({ originalMaxAge, expires, ...rest }: CookieData): void {
    Object.assign(this, rest)
    this.#expires = typeof expires === 'string' ? new Date(expires) : expires
    this.originalMaxAge = originalMaxAge ?? null
  }

  /** All attributes except the moment of expiry, as one string to compare. */
  get settings(): string {
    const { originalMaxAge, partitioned, priority, secure, httpOnly, domain, path, sameSite } = this
    return `${originalMaxAge} ${path} ${domain} ${sameSite} ${secure} ${httpOnly} ${priority} ${partitioned}`
  }
}
