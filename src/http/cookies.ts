/** The Cookie and Set-Cookie fields (RFC 6265bis), as pure functions. */

/** Attributes of a cookie, as express-session and the `cookie` package call them. */
export interface CookieAttributes {
  /** When it ends. Absent: with the browser's session. */
  readonly expires?: Date | string | false | null | undefined
  readonly domain?: string | undefined
  readonly path?: string | undefined
  readonly httpOnly?: boolean | undefined
  readonly secure?: boolean | 'auto' | undefined
  /** `true` means strict. */
  readonly sameSite?: boolean | 'lax' | 'strict' | 'none' | undefined
  readonly priority?: 'low' | 'medium' | 'high' | undefined
  readonly partitioned?: boolean | undefined
}

/**
 * Returns the values of a cookie in a Cookie field, in order and still encoded (RFC 6265, 5.4).
 * @param limit most values to return: a client can send any number of them
 */
export function cookieValues(
  field: string | undefined,
  name: string,
  limit: number = Infinity,
): string[] {
  if (field === undefined || !field.includes(name)) return []
  const values: string[] = []
  for (const pair of field.split(';')) {
    const equals = pair.indexOf('=')
    if (equals < 0 || pair.slice(0, equals).trim() !== name) continue
    const value = pair.slice(equals + 1).trim()
    values.push(
      value.length > 1 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value,
    )
    if (values.length >= limit) break
  }
  return values
}

/** RFC 6265, 4.1.1: no control characters, and nothing that ends an attribute. */
const ATTRIBUTE = /^[\x20-\x3A\x3C-\x7E]*$/
const SAME_SITE = { lax: 'Lax', strict: 'Strict', none: 'None' } as const
const PRIORITY = { low: 'Low', medium: 'Medium', high: 'High' } as const

/**
 * The value of a Set-Cookie field; attributes come in the order of the `cookie` package.
 * @throws TypeError for a domain or path that could become another attribute
 */
export function serializeCookie(name: string, value: string, attributes: CookieAttributes): string {
  const { domain, path, expires, httpOnly, secure, priority, sameSite, partitioned } = attributes
  let field = `${name}=${encodeURIComponent(value)}`
  if (domain) field += `; Domain=${attribute('domain', domain)}`
  if (path) field += `; Path=${attribute('path', path)}`
  if (expires) field += `; Expires=${new Date(expires).toUTCString()}`
  if (httpOnly) field += '; HttpOnly'
  if (secure) field += '; Secure'
  if (partitioned) field += '; Partitioned'
  if (priority) field += `; Priority=${oneOf(PRIORITY, 'priority', priority)}`
  if (sameSite)
    field += `; SameSite=${oneOf(SAME_SITE, 'sameSite', sameSite === true ? 'strict' : sameSite)}`
  return field
}

/** Returns the spelling of an attribute's value, which may be in any case. */
function oneOf(spellings: Readonly<Record<string, string>>, name: string, value: unknown): string {
  const key = String(value).toLowerCase()
  if (Object.hasOwn(spellings, key)) return spellings[key]!
  throw new TypeError(`A cookie's ${name} cannot be ${JSON.stringify(value)}.`)
}

function attribute(name: string, value: string): string {
  if (typeof value !== 'string' || !ATTRIBUTE.test(value))
    throw new TypeError(`A cookie's ${name} cannot be ${JSON.stringify(value)}.`)
  return value
}
