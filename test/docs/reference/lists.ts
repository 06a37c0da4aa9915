/**
 * Lists of the reference that no docstring has: environment variables, header fields, keys. Tests
 * compare each with the source, so that no row is missing and none is left over.
 */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { ROOT } from '../blocks.ts'

/** A cell for each column. The first one names the row. */
type Row = readonly [name: string, ...cells: string[]]

/** A list as a page. */
export interface ListPage {
  readonly file: string
  readonly title: string
  readonly summary: string
  readonly head: readonly string[]
  readonly rows: readonly Row[]
}

export const ENVIRONMENT: ListPage = {
  file: 'environment',
  title: 'Environment variables',
  summary:
    'What turnpike reads from the environment. Options win over variables. Nothing else is read.',
  head: ['variable', 'read by', 'meaning'],
  rows: [
    [
      'REDIS_URL',
      '`turnpike()`, `turnpike.fromEnv()`, the command line',
      'Location of Redis, if no option names it. `rediss://` for TLS.',
    ],
    ['REDIS_USERNAME', '`turnpike.fromEnv()`, the command line', 'User, if REDIS_URL has none.'],
    [
      'REDIS_PASSWORD',
      '`turnpike.fromEnv()`, the command line',
      'Password, if REDIS_URL has none.',
    ],
    ['REDIS_SSL', '`turnpike.fromEnv()`, the command line', 'TLS: `1`, `true` or `yes`.'],
    [
      'REDIS_SSL_CA_CERTS',
      '`turnpike.fromEnv()`, the command line',
      'File with the certificates of the authorities.',
    ],
    [
      'REDIS_SSL_CERTFILE',
      '`turnpike.fromEnv()`, the command line',
      "File with the client's certificate.",
    ],
    [
      'REDIS_SSL_KEYFILE',
      '`turnpike.fromEnv()`, the command line',
      "File with the client's private key.",
    ],
    ['TURNPIKE_REDIS_URL', 'the command line', 'Location of Redis. It wins over REDIS_URL.'],
    [
      'NODE_ENV',
      '`turnpike()`',
      'With `production`, an instance without a Redis is an error: [TP_NO_REDIS](../errors.md#tp_no_redis).',
    ],
    ['RESPONSE_CACHE_TTL', '`tp.data`', 'Default time to live of values, in seconds.'],
    [
      'DEBUG',
      'every entry',
      'Events to print on standard error: `turnpike:*`, or their names: `turnpike:decision`, `turnpike:decision(nightly)`.',
    ],
    ['DEBUG_FORMAT', 'every entry', '`json`: a line of JSON for each event.'],
    ['NO_COLOR', 'the command line', 'Turns colours off, unless it is empty.'],
    ['REDIS_SERVER_BIN', '`startRedis()` of `turnpike/testing`', 'The program that it starts.'],
  ],
}

export const KEYS: ListPage = {
  file: 'keys',
  title: 'Keys in Redis',
  summary:
    'Every key is `<prefix>[~<version>]:<name>:{<tag>}[:<part>]`. The tag is the subject, after the tenant and `=` if there are tenants. Every key has a time to live, except those of `queue:jobs`, which are [bounded in number](../jobs.md#what-is-in-redis). [The store](../store.md#keys) shows how parts are escaped. Keys of `operations` contain no version.',
  head: ['name', 'tag', 'part', 'contents'],
  rows: [
    ['limit', 'subject', 'limiter, policy, algorithm', 'State of a rate limit.'],
    ['limits', 'subject', '', 'Limits of one subject: `tp.overrides`.'],
    [
      'login',
      'guard and digest of the identity',
      '',
      'Addresses from which an identity was tried.',
    ],
    [
      'session',
      'digest of the user by the secret, random for visitors',
      'digest of the session ID',
      'Data of a session.',
    ],
    [
      'sessions',
      'digest of the user by the secret, random for visitors',
      '',
      'Sessions of a user by time.',
    ],
    [
      'session-revoke-before',
      'digest of the user by the secret, random for visitors',
      '',
      'Time before which sessions of a user are void.',
    ],
    [
      'cache',
      'digest of the resource',
      'path or own key, then `lease` for fills',
      'A cached response.',
    ],
    [
      'data',
      'digest of the key',
      'namespace and key, then `lease` for fills',
      'A cached value of `tp.data`.',
    ],
    ['inv', '`log`', '', 'Log of invalidations.'],
    [
      'idempotency',
      'digest of scope and key',
      '',
      'State and response of a request with an idempotency key.',
    ],
    [
      'lock',
      'name of the lock',
      '`token`, `queue`, `alive`',
      'Holder, fencing token and waiters of a lock.',
    ],
    ['once', 'key of `tp.once()`', '`token`', 'A run, and when it ended.'],
    ['semaphore', 'name of the semaphore', '`since`, `queue`, `alive`', 'Permits that are held.'],
    [
      'concurrency',
      'name and subject',
      '`since`, `queue`, `alive`',
      'Requests in progress: `tp.concurrency()`.',
    ],
    ['operations:processes', '`all`', '', 'Processes by the time of their last report.'],
    ['operations:process', '`all`', 'ID of the process', 'Last report of a process.'],
    [
      'operations:system',
      '`all`',
      'ID of the process',
      'What a process has measured of itself and its machine.',
    ],
    ['operations:description', '`all`', 'digest', 'What processes have mounted.'],
    ['operations:minute', '`all`', 'minute', 'Counts of a minute.'],
    ['operations:refused', '`all`', 'hour', 'Subjects that were refused most often in an hour.'],
    ['operations:services', '`all`', '', 'Services by the time until which they are kept.'],
    ['operations:service', '`all`', 'name', 'State of a service, and its last results.'],
    ['operations:service-turn', '`all`', 'name', 'When the last check of a service began.'],
    [
      'operations:document',
      '`maintenance-<name>`',
      '`changes` for its audit',
      'The switch of maintenance.',
    ],
    ['operations:alerts', '`all`', '', 'The turn of the process that checks alerts.'],
    ['operations:alert', '`all`', 'name', 'State of an alert.'],
    ['operations:silence', '`all`', 'name', 'Time until which an alert is silent.'],
    ['operations:counter', '`all`', 'name', 'Last value of a counter of the server.'],
    ['operations:audit', '`all`', '', 'Changes that people made.'],
    ['operations:audit-bans', '`all`', '', 'Bans of `tp.ban()`.'],
    ['operations:rules', '`all`', '', 'Rules of `tp.control`, with their version.'],
    ['operations:rules-held', '`all`', '', 'Processes that have received a change.'],
    ['operations:last-bans', '`all`', '', 'Times of the last bans.'],
    ['operations:bans', 'network', 'name of the ban', 'Number of bans of a client.'],
    ['operations:matches', 'network', 'name of the ban', 'Matches of a client.'],
    ['tokens:once', 'purpose and subject', '', 'Digest and attempts of a one-time token.'],
    ['tokens:once-address', 'purpose and address', 'what', 'Attempts of an address.'],
    ['tokens:refresh', 'name and user', '', "Families of a user's refresh tokens."],
    ['tokens:api-key', 'digest of the API key', '', 'Record of an API key, or that there is none.'],
    ['tokens:api-key-use', 'digest of the API key', '', 'Last use of an API key.'],
    [
      'collections:counters',
      'name and item',
      'ID of a process, for its latest batch',
      'Counters of an item.',
    ],
    ['collections:leaderboard', 'name, `large`, and season', '`ids`', 'Scores.'],
    ['collections:trending', 'name', '', 'Hits with their half-life.'],
    ['collections:suggestions', 'name', '`terms`, `written`', 'Terms by popularity and prefix.'],
    ['collections:recent', 'name and owner', '', 'Items by their last use.'],
    ['collections:list', 'name and list', '', 'A capped list.'],
    [
      'flags:document',
      '`flags-<name>` or `config-<name>`',
      '`changes` for its audit',
      'Rules of flags, or the announcement of a reload.',
    ],
    ['queue:jobs', 'name of the queue', 'names of BullMQ', 'A queue of jobs.'],
    ['realtime:topic', 'topic', '', 'History of a topic.'],
    ['realtime:inbox', 'user', '`messages`, `unread`, `removed`, `seen`', "A user's inbox."],
    ['realtime:announced', 'announcements', '`until`, `messages`', 'Announcements to all users.'],
    ['realtime:present', 'presence', '`names`', 'Who is online.'],
    ['realtime:progress', 'task', '', 'Progress of a task.'],
    ['realtime:subscriptions', 'name and user', '', 'Topics that a user follows.'],
    ['realtime:streams', 'user, session or API key', '', 'Open streams.'],
    ['realtime:ended', '`streams`', '', 'Streams that were ended.'],
  ],
}

export const HEADERS: ListPage = {
  file: 'headers',
  title: 'Header fields',
  summary:
    'The fields of HTTP that turnpike sets, changes or reads by itself. Options name further ones, for example those of proxies and API keys.',
  head: ['field', 'where', 'used by', 'meaning'],
  rows: [
    [
      'Accept-Encoding',
      'Vary of a response',
      '`tp.cache()`',
      'Added if stored responses differ by encoding.',
    ],
    [
      'Access-Control-Allow-Credentials',
      'removed from a response',
      '`tp.dashboard()`',
      'No other origin may read it.',
    ],
    [
      'Access-Control-Allow-Origin',
      'removed from a response',
      '`tp.dashboard()`',
      'No other origin may read it.',
    ],
    ['Age', 'response', '`tp.cache()`', 'Seconds since the response was made (RFC 9111).'],
    [
      'Authorization',
      'request',
      '`apiKeys()`, `tp.cache()`, `tp.idempotency()`',
      'Identifies the caller. Responses to it are not shared.',
    ],
    [
      'CDN-Cache-Control',
      'response of the handler',
      "`tp.cache()` with `ttl: 'auto'`",
      'Wins over Cache-Control (RFC 9213).',
    ],
    [
      'Cache-Control',
      'response',
      'every reply of turnpike',
      '`no-store`: refusals, health, metrics and routers are not cached.',
    ],
    ['Cache-Status', 'response', '`tp.cache()`', 'How the cache handled the request (RFC 9211).'],
    ['Content-Length', 'response', 'every reply of turnpike', 'Length of the body.'],
    [
      'Content-Security-Policy',
      'response',
      '`tp.dashboard()`',
      'Only scripts and styles of its own.',
    ],
    [
      'Content-Security-Policy-Report-Only',
      'removed from a response',
      '`tp.dashboard()`',
      'Its own policy applies.',
    ],
    [
      'Content-Type',
      'response',
      'every reply of turnpike',
      '`application/problem+json` for refusals (RFC 9457).',
    ],
    ['Cookie', 'request', '`tp.session()`', "The session's cookie (RFC 6265)."],
    ['Cross-Origin-Opener-Policy', 'response', '`tp.dashboard()`', '`same-origin`.'],
    ['Cross-Origin-Resource-Policy', 'response', '`tp.dashboard()`', '`same-origin`.'],
    ['ETag', 'removed from a response', '`tp.dashboard()`', 'Its pages are not revalidated.'],
    [
      'Idempotency-Key',
      'request',
      '`tp.idempotency()`',
      'The key (draft-ietf-httpapi-idempotency-key-header-07).',
    ],
    [
      'Idempotency-Replayed',
      'response',
      '`tp.idempotency()`',
      'The stored response was sent again.',
    ],
    ['If-Modified-Since', 'request', '`tp.cache()`', '304 for an unchanged response (RFC 9110).'],
    ['If-None-Match', 'request', '`tp.cache()`', '304 for an unchanged response (RFC 9110).'],
    ['Last-Event-ID', 'request', '`sse()`', 'Where a stream continues.'],
    [
      'RateLimit',
      'response',
      '`tp.rateLimit()`',
      'What is left (draft-ietf-httpapi-ratelimit-headers-11).',
    ],
    [
      'RateLimit-Policy',
      'response',
      '`tp.rateLimit()`',
      'The policies (draft-ietf-httpapi-ratelimit-headers-11).',
    ],
    ['Referrer-Policy', 'response', '`tp.dashboard()`', '`no-referrer`.'],
    [
      'Retry-After',
      'response',
      'every refusal that may be repeated',
      'Seconds until a retry makes sense (RFC 9110).',
    ],
    ['Set-Cookie', 'response', '`tp.session()`', "The session's cookie (RFC 6265)."],
    ['Vary', 'response', '`tp.cache()`', 'Request fields that the response depends on (RFC 9110).'],
    ['WWW-Authenticate', 'response', '`apiKeys()`', 'How to authenticate, with 401 (RFC 9110).'],
    ['X-API-Key', 'request', '`apiKeys()`, `tp.idempotency()`', 'Identifies the caller.'],
    [
      'X-Accel-Buffering',
      'response',
      '`sse()`, progress of jobs',
      '`no`: nginx sends events at once.',
    ],
    ['X-Content-Type-Options', 'response', '`tp.dashboard()`', '`nosniff`.'],
    ['X-Frame-Options', 'response', '`tp.dashboard()`', '`DENY`.'],
    ['X-RateLimit-Limit', 'response', '`tp.rateLimit()` with `legacyHeaders`', 'The limit.'],
    ['X-RateLimit-Remaining', 'response', '`tp.rateLimit()` with `legacyHeaders`', 'What is left.'],
    [
      'X-RateLimit-Reset',
      'response',
      '`tp.rateLimit()` with `legacyHeaders`',
      'When the window ends.',
    ],
  ],
}

export const LISTS: readonly ListPage[] = [ENVIRONMENT, HEADERS, KEYS]

/** Returns a list as a page. @param written the note about where it comes from */
export function listPage({ title, summary, head, rows }: ListPage, written: string): string {
  const lines = rows.map(([name, ...cells]) => `| \`${name}\` | ${cells.join(' | ')} |`)
  const table = [`| ${head.join(' | ')} |`, `|${'---|'.repeat(head.length)}`, ...lines]
  return `${[`# ${title}`, written, summary, table.join('\n')].join('\n\n')}\n`
}

/** Returns the code of src/ without comments, by file. */
export function sources(): Map<string, string> {
  const folder = path.join(ROOT, 'src')
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => file.endsWith('.ts'))
  return new Map(
    files.map((file) => [
      file,
      readFileSync(path.join(folder, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, ''),
    ]),
  )
}
