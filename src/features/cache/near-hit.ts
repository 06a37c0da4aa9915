/** Replies from the near cache, in the same tick: no promise, no hash, and no field is read twice. */
import type { CacheEntry } from '../../caching/entry.ts'
import { MAX_NEAR_STRING_BYTES, type NearEntry } from '../../caching/near-cache.ts'
import type { EntryKeys } from '../../caching/entry-keys.ts'
import type { HeaderFields, Reply, RequestHead } from '../../http/exchange.ts'
import { headerOf } from '../../http/headers.ts'
import { acceptsCoding } from './content-coding.ts'
import type { NearReply } from './listener-answers.ts'
import type { CacheMount } from './mount.ts'
import { ageOf, isAcceptable, isConditional, replyFrom } from './reply.ts'
import { variantOf, type Target } from './resource.ts'
import { responseIn } from './cached-response.ts'

/** An entry as it is sent whole. */
interface PreparedReply {
  /** The coding that the client must accept. */
  readonly coding: string | undefined
  readonly whole: Reply
  /** The body as a string, if it is short: node sends a head and a string in one piece. */
  readonly text: string | undefined
  /** The reply of this second, and what it was made for. */
  reply: Reply | undefined
  age: number
  ttl: number
  detail: string
  /** The last Accept-Encoding, and whether it accepts the coding. */
  acceptEncoding: string | undefined
  isAccepted: boolean
}

function prepare(entry: CacheEntry): PreparedReply {
  const { isPacked, coding: own } = responseIn(entry)
  const coding = isPacked ? 'gzip' : own
  const request: RequestHead = { method: 'GET', headers: { 'accept-encoding': '*' } }
  return {
    coding,
    whole: replyFrom(entry, request, {}) as Reply,
    text: entry.body.length <= MAX_NEAR_STRING_BYTES ? entry.body.toString('latin1') : undefined,
    reply: undefined,
    age: -1,
    ttl: -1,
    detail: '',
    acceptEncoding: undefined,
    isAccepted: acceptsCoding(undefined, coding ?? 'identity'),
  }
}

function isAccepted(prepared: PreparedReply, acceptEncoding: string | undefined): boolean {
  if (prepared.coding === undefined) return true
  if (prepared.acceptEncoding !== acceptEncoding) {
    prepared.acceptEncoding = acceptEncoding
    prepared.isAccepted = acceptsCoding(acceptEncoding, prepared.coding)
  }
  return prepared.isAccepted
}

/** Returns fields as `writeHead` takes them, if each has one value. */
function rawHeaders(headers: HeaderFields, length: number): string[] | undefined {
  const fields = Object.entries(headers)
  if (fields.some(([, value]) => typeof value !== 'string')) return undefined
  return [...(fields as [string, string][]).flat(), 'Content-Length', String(length)]
}

/** The largest value of -ln(1 - Math.random()). */
const MAX_EXPONENTIAL = 37

/**
 * Returns the function that replies from the near cache, where that needs neither Redis nor the
 * application's functions. It is asked only about requests that the cache may answer.
 */
export function createNearReply<Native>(mount: CacheMount<Native>): NearReply {
  const { engine, name, options } = mount
  const { store } = engine.cacheStore
  const near = engine.cacheStore.near(mount.nearBytes)
  const isAuto = options.ttl === 'auto'
  const mayRefreshEarly = mount.refreshesInBackground && mount.waitMs > 0

  function entryKeyOf(
    { keys }: Target,
    request: RequestHead,
  ): Pick<EntryKeys, 'entry'> | undefined {
    const vary = engine.vary.get(keys.entry) ?? mount.vary
    if (vary.length === 0) return keys
    // Ignored cookies are no part of the key.
    if (vary.includes('cookie') && request.headers.cookie !== undefined) return undefined
    return { entry: `${keys.entry}${variantOf(vary, (name) => headerOf(request.headers, name))}` }
  }

  /** Returns whether it is too soon to refresh the entry early. */
  const isTooSoon = ({ entry }: NearEntry, now: number): boolean =>
    !mayRefreshEarly ||
    entry.staleUntil <= entry.freshUntil ||
    now + MAX_EXPONENTIAL * entry.cost < entry.freshUntil

  return function nearReply(target, request, detail = '') {
    // What the client asks for counts only with `auto`.
    const { headers } = request
    if (isAuto && (headers['cache-control'] ?? headers.pragma) !== undefined) return undefined
    const keys = entryKeyOf(target, request)
    if (keys === undefined) return undefined
    const now = store.now()
    const known = near.find(keys, now)
    if (known === undefined || !isTooSoon(known, now)) return undefined
    const { entry } = known
    if (!isAcceptable(entry, request)) return undefined
    const prepared = (known.prepared ??= prepare(entry)) as PreparedReply
    const age = ageOf(entry, now)
    const ttl = Math.floor((entry.freshUntil - now) / 1000)
    const added = (): HeaderFields => ({
      'Cache-Status': `turnpike; hit; ttl=${ttl}${detail}`,
      Age: String(age),
    })
    if (isConditional(request) || !isAccepted(prepared, headers['accept-encoding'])) {
      const reply = replyFrom(entry, request, added())
      if (reply instanceof Promise) {
        return reply.then((reply) => {
          engine.count(name, 'near', keys.entry)
          return { reply }
        })
      }
      engine.count(name, 'near', keys.entry)
      return { reply }
    }
    engine.count(name, 'near', keys.entry)
    const { reply } = prepared
    const isSame = prepared.age === age && prepared.ttl === ttl && prepared.detail === detail
    if (reply === undefined || !isSame) {
      const { whole, text } = prepared
      const fields = { ...whole.headers, ...added() }
      const lines = rawHeaders(fields, entry.body.length)
      prepared.reply = { ...whole, headers: fields, text, lines }
      Object.assign(prepared, { age, ttl, detail })
    }
    return { reply: prepared.reply! }
  }
}
