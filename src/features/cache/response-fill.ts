/** A response on its way from the handler to the client: stored, shared, or replaced by what was stored before. */
import type { CacheEntry } from '../../caching/entry.ts'
import type { Fill } from '../../caching/fill.ts'
import type { LogPosition } from '../../caching/invalidation-log.ts'
import type { LookupResult } from '../../caching/entry-keys.ts'
import { MAX_ENTRY_TAGS, tagFields } from '../../caching/tags.ts'
import { deadlinesOf } from '../../caching/validity.ts'
import type { HeaderFields, PassPlan, Reply, SentResponse, SentHead } from '../../http/exchange.ts'
import type { CacheLookup } from './cache-lookup.ts'
import { directivesOf } from './directives.ts'
import { PAUSE_MS } from './engine.ts'
import {
  groupsOf,
  judgeResponse,
  endToEndFields,
  varyOf,
  type StorageTerms,
  type StorageVerdict,
} from './policy.ts'
import { forwardStatus, type CacheReason } from './reasons.ts'
import { CONDITIONS, isConditional, replyFrom, type RequestHead } from './reply.ts'
import { variantOf } from './resource.ts'
import { packEntry, responseIn, cachedResponse, type CachedResponse } from './cached-response.ts'

/** Why a request was forwarded to the handler (RFC 9211, 2.2). */
export type Forward = 'miss' | 'stale' | 'request'

/** What a response is stored by. */
export interface ResponseFillOptions {
  readonly fill: Fill
  /** The log's position before the handler runs. Undefined: the response cannot be stored. */
  readonly position: LogPosition | undefined
  /** The entry that was stored before. It is served instead of an error, and revalidated. */
  readonly former: LookupResult | undefined
  readonly forward: Forward
}

/** Reasons that say nothing about the resource. The next waiter fills. */
const OF_THE_REQUEST: ReadonlySet<CacheReason> = new Set<CacheReason>([
  'aborted',
  'request-no-store',
])
/** Reasons that may be about one request or about all. Only several in a row count for the resource. */
const PERHAPS_OF_THE_REQUEST: ReadonlySet<CacheReason> = new Set<CacheReason>([
  'authorization',
  'error',
  'session',
  'user',
])

/** One response of the handler. */
export class ResponseFill<Native> {
  readonly #lookup: CacheLookup<Native>
  readonly #options: ResponseFillOptions
  readonly #began: number
  /** The request as the client sent it. The handler sees other conditions. */
  readonly #request: RequestHead
  readonly #addedTags: string[] = []
  #verdict: StorageVerdict | undefined
  #entry: CacheEntry | undefined
  /** Cache-Status of a reply that replaced the handler's. */
  #status: string | undefined
  #statusCode = 0
  #isCounted = false

  constructor(lookup: CacheLookup<Native>, options: ResponseFillOptions) {
    this.#lookup = lookup
    this.#options = options
    this.#began = lookup.engine.cacheStore.store.monotonic()
    const { x } = lookup
    const conditions = new Map<string, string | undefined>(
      CONDITIONS.map((name) => [name, x.header(name)]),
    )
    this.#request = {
      method: x.method,
      header: (name) => (conditions.has(name) ? conditions.get(name) : x.header(name)),
    }
  }

  /** Returns the plan that observes the response. */
  plan(): PassPlan {
    const { mount } = this.#lookup
    const mayReplace = this.#former() !== undefined || isConditional(this.#request)
    const hidden = Object.fromEntries(CONDITIONS.map((name) => [name, undefined]))
    return {
      requestHeaders: { ...hidden, ...this.#validators() },
      responseHelpers: { cacheTags: (...tags: unknown[]) => this.#addTags(tags.flat()) },
      headers: () => this.#headers(),
      capture: {
        limit: mount.maxBodyBytes,
        onHead: (head) => this.#onHead(head),
        onComplete: (sent) => this.#onComplete(sent),
        onOverflow: () => this.#end('size'),
        onError: () => this.#end('error'),
        ...(mayReplace && { replace: (sent: SentResponse) => this.#replacement(sent) }),
      },
      onFinish: () => this.#end('aborted'),
    }
  }

  #addTags(tags: unknown[]): void {
    this.#addedTags.push(...tagFields(tags, 'cacheTags()'))
  }

  /** Returns the entry that was stored before, if it can still be used. */
  #former(): CacheEntry | undefined {
    const { former } = this.#options
    return former?.validUntil === undefined ? undefined : former.entry
  }

  /** Returns the conditions that ask the handler whether the former entry is still current (RFC 9111, 4.3.1). */
  #validators(): Record<string, string> {
    const former = this.#former()
    if (former === undefined) return {}
    const { etag, fields, hasOwnValidators, status } = responseIn(former)
    if (!hasOwnValidators || status !== 200) return {}
    const modified = fields.find(([name]) => name === 'last-modified')?.[1]
    const hasEtag = etag !== undefined && fields.some(([name]) => name === 'etag')
    return {
      ...(hasEtag && { 'if-none-match': etag }),
      ...(typeof modified === 'string' && { 'if-modified-since': modified }),
    }
  }

  #isRevalidation({ status }: SentHead): boolean {
    return status === 304 && Object.keys(this.#validators()).length > 0
  }

  #onHead(head: SentHead): void {
    this.#statusCode = head.status
    this.#verdict = this.#judge(head)
    // Waiters need not wait for the end of a response that they cannot share.
    if (!this.#verdict.isStored) this.#end(this.#verdict.reason)
  }

  #judge(head: SentHead): StorageVerdict {
    const { x, mount, now } = this.#lookup
    const { scope, public: isPublic = false } = mount.options
    const refuse = (reason: CacheReason): StorageVerdict => ({ isStored: false, reason })
    if (directivesOf(x.header('cache-control')).has('no-store')) return refuse('request-no-store')
    if (scope === undefined && !isPublic) {
      if (x.identity.verifiedKey) return refuse('api-key')
      if (x.identity.user) return refuse('user')
      if (x.identity.hasSessionData) return refuse('session')
    }
    if (this.#tagsOf(head).length > MAX_ENTRY_TAGS) return refuse('tags')
    const length = Number(head.headers['content-length'] ?? 0)
    if (length > mount.maxBodyBytes) return refuse('size')
    const isAuto = mount.policy.ttl === 'auto'
    const isAuthorized = isAuto && !isPublic && x.identity.authorization !== undefined
    const response = this.#isRevalidation(head) ? this.#merged(head) : head
    return judgeResponse(response, { ...mount.policy, isAuthorized }, now)
  }

  /** Returns the former response with the fields of a 304 (RFC 9111, 4.3.4 and 3.2). */
  #merged({ headers }: SentHead): SentHead {
    const former = responseIn(this.#former()!)
    const fresh = Object.fromEntries(endToEndFields({ status: 304, headers }))
    for (const name of ['content-encoding', 'content-type', 'content-range']) delete fresh[name]
    return { status: former.status, headers: { ...Object.fromEntries(former.fields), ...fresh } }
  }

  #onComplete(sent: SentResponse): void {
    const { fill, position } = this.#options
    const entry = this.#entryOf(sent)
    if (entry === undefined) {
      const verdict = this.#verdict
      return this.#end(verdict === undefined || verdict.isStored ? 'aborted' : verdict.reason)
    }
    this.#count(undefined)
    // It was invalidated meanwhile: the next response can be stored.
    if (this.#lookup.keys.log.isPending(entry)) return fill.abandon()
    const { engine, mount, keys, resourceKeys } = this.#lookup
    if (position === undefined) return fill.complete(entry, undefined)
    engine.resume(keys.entry)
    fill.complete(entry, async (token) => {
      const packed = mount.options.compress === false ? entry : await packEntry(entry)
      await engine.save(mount.name, { keys, entry: packed, token, resourceKeys })
    })
  }

  /** Returns the entry of this response. Undefined: it is not stored. */
  #entryOf(sent: SentResponse): CacheEntry | undefined {
    if (this.#entry !== undefined) return this.#entry
    // A session or user may have come into being after the head was known.
    const verdict = this.#verdict?.isStored ? this.#judge(sent) : this.#verdict
    if (!verdict?.isStored || this.#lookup.x.method !== 'GET') return undefined
    const isRevalidation = this.#isRevalidation(sent)
    const former = isRevalidation ? this.#former()! : undefined
    const response = former ? { ...this.#merged(sent), body: former.body } : sent
    return (this.#entry = this.#createEntry(response, verdict, former))
  }

  /** Returns the tags of the mount, of the handler and of the response's own fields. */
  #tagsOf(head: SentHead): string[] {
    const groups = tagFields(groupsOf(head), 'the response')
    return [...new Set([...this.#lookup.tags, ...this.#addedTags, ...groups])]
  }

  #createEntry(
    response: SentResponse,
    { freshFor, staleFor, errorFor, initialAge }: StorageTerms,
    former: CacheEntry | undefined,
  ): CacheEntry {
    const { mount, resource, now, header, engine } = this.#lookup
    const vary = [...new Set([...varyOf(response), ...mount.vary])].sort()
    const stored = cachedResponse(response, vary, vary.length > 0 ? variantOf(vary, header) : '')
    const { isPacked, length }: Pick<CachedResponse, 'isPacked' | 'length'> = former
      ? responseIn(former)
      : stored
    const { position } = this.#options
    const freshUntil = now + freshFor
    return {
      nonce: position?.nonce ?? '',
      sequence: position?.sequence ?? 0,
      tags: this.#tagsOf(response),
      name: resource.name,
      storedAt: now,
      initialAge,
      freshUntil,
      staleUntil: freshUntil + staleFor,
      errorUntil: freshUntil + errorFor,
      cost: Math.round(engine.cacheStore.store.monotonic() - this.#began),
      extra: { ...stored, isPacked, length } satisfies CachedResponse,
      body: response.body,
    }
  }

  /** Returns another reply than the handler's: the former response for an error, or less than the whole. */
  #replacement(sent: SentResponse): Reply | undefined {
    const { mount, now, engine, keys } = this.#lookup
    const request = this.#request
    const former = this.#former()
    if (former !== undefined && sent.status >= 500) {
      const { error } = deadlinesOf(former, this.#options.former!.validUntil!)
      if (now >= error) return undefined
      engine.count(mount.name, 'stale', keys.entry)
      const status = `fwd=stale; fwd-status=${sent.status}`
      return synchronous(replyFrom(former, request, this.#addedFields(former, status)))
    }
    const entry = this.#entryOf(sent)
    if (this.#isRevalidation(sent)) {
      const fields = endToEndFields(this.#merged(sent))
      const whole = entry ?? { ...former!, extra: { ...responseIn(former!), fields } }
      const status = 'fwd=stale; fwd-status=304'
      return synchronous(replyFrom(whole, request, this.#addedFields(whole, status)))
    }
    if (entry === undefined || !isConditional(request)) return undefined
    return synchronous(replyFrom(entry, request, {}))
  }

  #addedFields(entry: CacheEntry, status: string): HeaderFields {
    this.#status = status
    const age = Math.floor((this.#lookup.now - entry.storedAt + entry.initialAge) / 1000)
    return { 'Cache-Status': `turnpike; ${status}`, Age: String(Math.max(0, age)) }
  }

  #headers(): HeaderFields {
    const { forward, position } = this.#options
    if (this.#status !== undefined) return { 'Cache-Status': `turnpike; ${this.#status}` }
    const isStored = this.#verdict?.isStored === true && position !== undefined
    if (isStored) return { 'Cache-Status': `turnpike; fwd=${forward}; stored` }
    return { 'Cache-Status': forwardStatus(forward, this.#reason()) }
  }

  /** Returns why the response is not stored, as far as that is known when the head is sent. */
  #reason(): CacheReason | undefined {
    const verdict = this.#verdict
    if (verdict !== undefined && !verdict.isStored) return verdict.reason
    return this.#options.position === undefined ? 'store' : undefined
  }

  #count(reason: CacheReason | undefined): void {
    if (this.#isCounted) return
    this.#isCounted = true
    const { engine, mount, keys } = this.#lookup
    engine.count(mount.name, 'miss', keys.entry, reason)
  }

  /** Ends a fill without an entry. Only the first call counts. */
  #end(reason: CacheReason): void {
    this.#count(reason)
    const { fill } = this.#options
    if (fill.isOver) return
    const { engine, keys, x } = this.#lookup
    const isRefresh = this.#options.forward === 'stale'
    if (isRefresh && (reason !== 'aborted' || x.isBackground))
      engine.backoff.fail(keys.entry, engine.cacheStore.store.monotonic())
    const isOfTheRequest =
      OF_THE_REQUEST.has(reason) ||
      (this.#isPerhapsOfTheRequest(reason) && !engine.strike(keys.entry))
    if (isOfTheRequest) return fill.abandon()
    engine.pause(keys.entry)
    fill.refuse(PAUSE_MS)
  }

  #isPerhapsOfTheRequest(reason: CacheReason): boolean {
    return PERHAPS_OF_THE_REQUEST.has(reason) || (reason === 'status' && this.#statusCode >= 400)
  }
}

/** Only a body that has to be decoded is a promise. A former entry is decoded before the handler runs. */
const synchronous = (reply: Reply | Promise<Reply>): Reply | undefined =>
  reply instanceof Promise ? undefined : reply
