import type { Duration } from '../../../duration.ts'
import type { ReplyFunction } from '../../../http/refusal.ts'

/** What JSON makes of a value: a date becomes a string, a method disappears. */
export type JsonOf<Value> = 0 extends 1 & Value
  ? any
  : Value extends { toJSON(): infer Json }
    ? JsonOf<Json>
    : Value extends string | number | boolean | null | undefined
      ? Value
      : Value extends readonly (infer Item)[]
        ? readonly JsonOf<Item>[]
        : Value extends (...args: never) => unknown
          ? undefined
          : { readonly [Name in keyof Value]: JsonOf<Value[Name]> }

/** What `lookup` gets besides the digest. */
export interface LookupContext {
  /** The tenant of the request, where the application has tenants. */
  readonly tenant: string | undefined
}

/** Options of `apiKeys()`. */
export interface ApiKeyOptions<Native, Known extends object> {
  /**
   * Returns what your database knows of a key, up to 8 KB as JSON, or undefined for one that does
   * not exist or was revoked. Called once for all processes, and again when `ttl` is over. A key
   * whose record has `expiresAt` (a date, or ms since the epoch) is refused from then on.
   * @param digest the key's SHA-256 in hexadecimal digits, as `generate()` returns it
   */
  lookup: (
    digest: string,
    context: LookupContext,
  ) => Known | null | undefined | Promise<Known | null | undefined>
  /** How long Redis keeps what a lookup returned, and how long `revoke()` holds. @default '1h' */
  ttl?: Duration
  /** How long Redis keeps that a key does not exist. @default '10s' */
  missTtl?: Duration
  /**
   * How long a process uses what it knows without asking Redis. A revoked key may be accepted for so
   * long where the message about it is lost. `0`: each request asks Redis.
   * @default '5s'
   */
  near?: Duration
  /** Most keys that a process remembers. The one longest unused makes room. @default 10000 */
  maxKeys?: number
  /** How long other requests for the same key wait for a lookup before one of them does its own. @default '5s' */
  lookupTimeout?: Duration
  /**
   * Number of made-up keys that one address may have looked up within a minute, in each process.
   * Then keys that Redis does not know are answered 429. `false`: any number.
   * @default 100
   */
  missLimit?: number | false
  /** Header fields that may hold the key. `authorization` holds it as `Bearer <key>`. @default ['authorization', 'x-api-key'] */
  header?: string | readonly string[]
  /** What keys begin with: `key_…`. Secret scanners look for it. @default 'key' */
  prefix?: string
  /**
   * Refuse what was not made by `generate()`: wrong prefix, length or checksum. `false` for keys of
   * another form: up to 256 visible ASCII characters.
   * @default true
   */
  checksum?: boolean
  /** Refuse requests without a key. `false`: they pass, without `req.apiKey`. A wrong key is refused. @default true */
  required?: boolean
  /** Returns what a key may do. @default its list `permissions`, else its list `scopes` */
  permissions?: (record: JsonOf<Known>) => readonly string[] | undefined
  /**
   * Called at most once a minute for each key that is used, in one of all processes: for a column
   * `last_used` in your database. It delays no request.
   * @default none
   */
  onUsed?: (digest: string, at: Date, record: JsonOf<Known>) => void | Promise<void>
  /**
   * When Redis cannot answer: `'lookup'` asks your database, once for each process and `near`;
   * `'closed'` answers 503.
   * @default 'lookup'
   */
  fail?: 'lookup' | 'closed'
  /**
   * Ask for keys without the tenant of the request. For applications that learn the tenant from the
   * key. Without it, tenants do not share keys.
   * @default false
   */
  acrossTenants?: boolean
  /** Phrases the reply to a refused request. @default problem+json */
  reply?: ReplyFunction<Native>
  /** Sets these keys apart from others of the application. @default 'default' */
  name?: string
}

/** What a call may say besides the key. */
export interface ApiKeyCallOptions {
  /** Tenant whose data is meant. Required if the application has tenants. */
  tenant?: string
}

/** The functions of a mount of `apiKeys()`. */
export interface ApiKeys<Native, Middleware, Known extends object> {
  /** Returns a new key, for your user, and its digest, for your database. The key cannot be had again. */
  generate(): { key: string; digest: string }
  /** Returns the digest of a key: SHA-256 in hexadecimal digits. */
  digest(key: string): string
  /** Returns the record of the key that came with a request. Undefined if there was none. */
  of(native: Native): JsonOf<Known> | undefined
  /**
   * Returns what to count a request by: `tp.rateLimit({ key: keys.subject })`. The digest of its key;
   * for a request without one the client's address.
   */
  readonly subject: (native: Native) => string | string[]
  /**
   * Returns a limit for `tp.rateLimit({ limit: keys.limit(60) })`.
   * @param fallback for keys without a limit of their own
   * @param of returns a key's own limit. Default: `limit` of its record
   */
  limit(
    fallback: number,
    of?: (record: JsonOf<Known>) => number | undefined | null,
  ): (native: Native) => number
  /**
   * Returns a middleware that lets only keys with a permission pass: 401 without a key, 403 without
   * the permission. A key with `orders:*` may do `orders:write`.
   * @throws TP_OPTION if `permission` is no string
   */
  require(permission: string): Middleware
  /**
   * Refuses a key from now on, in all processes. Delete it in your database first: the refusal lasts
   * for `ttl`, and afterwards `lookup` is asked again.
   * @returns true if the key was known to Redis
   * @throws TP_UNAVAILABLE if the store cannot answer
   */
  revoke(digest: string, options?: ApiKeyCallOptions): Promise<boolean>
  /**
   * Forgets what is known of a key, in all processes, after its record changed in your database.
   * @throws TP_UNAVAILABLE if the store cannot answer
   */
  invalidate(digest: string, options?: ApiKeyCallOptions): Promise<boolean>
  /**
   * Returns when a key was last used, to the minute. Remembered for 90 days.
   * @throws TP_UNAVAILABLE if the store cannot answer
   */
  lastUsed(digest: string, options?: ApiKeyCallOptions): Promise<Date | undefined>
}
