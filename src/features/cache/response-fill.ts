/** A response on its way from the handler to the client: stored, shared, or replaced by what was stored before. */
import type { CacheEntry } from '../../caching/entry.ts'
import type { Fill } from '../../caching/fill.ts'
import { beginUntracedFill, isTracingFills, runFill } from '../../caching/fill-context.ts'
import type { LogPosition } from '../../caching/invalidation-log.ts'
import type { LookupResult } from '../../caching/entry-keys.ts'
import { MAX_ENTRY_TAGS, tagFields } from '../../caching/tags.ts'
import { deadlinesOf } from '../../caching/validity.ts'
import type {
  FieldReader,
  HeaderFields,
  PassPlan,
  Reply,
  SentHead,
  SentResponse,
} from '../../http/exchange.ts'
import type { CacheLookup } from './cache-lookup.ts'
import { refreshedResponse, responseIn } from './cached-response.ts'
import { HandlerRequest } from './handler-request.ts'
import { registerFill, tellOuterFills, type OuterFill } from './nesting.ts'
import type { Candidate } from './freshness.ts'
import { endToEndFields, groupsOf, type StorageVerdict } from './policy.ts'
import { reportFill } from './made-response.ts'
import { forwardStatus, type CacheReason } from './reasons.ts'
import { ageOf, isConditional, isReadable, replyFrom } from './reply.ts'
import { createEntry, isNeverFresh, isStillGood, storeEntry } from './response-entry.ts'
import { judgeFill, notModifiedReply, refuseFill } from './response-verdict.ts'

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

/** One response of the handler. */
export class ResponseFill<Native> implements OuterFill {
  readonly #lookup: CacheLookup<Native>
  readonly #options: ResponseFillOptions
  readonly #began: number
  readonly #request: HandlerRequest
  readonly #addedTags: string[] = []
  readonly #addedVary: string[] = []
  #excluded: CacheReason | undefined
  #head: SentHead | undefined
  #momentary: HeaderFields = {}
  #verdict: StorageVerdict | undefined
  #entry: CacheEntry | undefined
  /** Cache-Status of a reply that replaced the handler's. */
  #status: string | undefined
  #isCounted = false

  constructor(lookup: CacheLookup<Native>, options: ResponseFillOptions) {
    this.#lookup = lookup
    this.#options = options
    this.#began = lookup.engine.cacheStore.store.monotonic()
    this.#request = new HandlerRequest(lookup, this.#former())
  }

  get mount(): object {
    return this.#lookup.mount
  }
  get store(): object {
    return this.#lookup.engine.cacheStore.store
  }
  get key(): string {
    return this.#lookup.keys.entry
  }
  get owner(): string | undefined {
    return this.#lookup.owner
  }
  addTags(fields: readonly string[]): void {
    for (const field of fields) this.#addedTags.push(field)
  }
  addVary(names: readonly string[]): void {
    for (const name of names) this.#addedVary.push(name)
  }
  exclude(reason: CacheReason): void {
    if (!this.#lookup.mount.isPublic) this.#excluded = reason
  }

  /** Returns the plan that observes the response. */
  plan(): PassPlan {
    const { mount, x } = this.#lookup
    const { fill } = this.#options
    registerFill(x.native, this)
    const mayReplace = this.#former() !== undefined || isConditional(this.#request.client)
    const endUntraced = isTracingFills() ? undefined : beginUntracedFill()
    return {
      ...this.#request.masks,
      responseHelpers: { cacheTags: (...tags: unknown[]) => this.#declareTags(tags.flat()) },
      headers: () => this.#headers(),
      capture: {
        limit: mount.maxBodyBytes,
        onHead: (head) => this.#onHead(head),
        onComplete: (sent) => this.#onComplete(sent),
        onOverflow: () => this.#end('size'),
        onError: () => this.#end('error'),
        ...(mayReplace && { replace: (sent: SentResponse) => this.#replacement(sent) }),
      },
      onFinish: () => {
        endUntraced?.()
        this.#end('aborted')
      },
      ...(endUntraced === undefined && { around: (next) => runFill(fill, next) }),
    }
  }

  #declareTags(tags: unknown[]): void {
    const fields = tagFields(tags, 'cacheTags()')
    this.addTags(fields)
    const { x } = this.#lookup
    tellOuterFills(x.native, { tags: fields, vary: [], owner: undefined })
  }

  /** Returns the entry that was stored before, if it can still be used. */
  #former(): CacheEntry | undefined {
    const { former } = this.#options
    return former?.validUntil === undefined ? undefined : former.entry
  }

  #isRevalidation({ status }: Candidate): boolean {
    return status === 304 && Object.keys(this.#request.validators).length > 0
  }

  #onHead(head: SentHead): void {
    this.#head = head
    this.#momentary = momentaryFields(head.field)
    const verdict = this.#judge(head)
    this.#verdict = verdict
    // Waiters need not wait for the end of a response that they cannot share.
    if (!verdict.isStored) this.#end(verdict.reason)
    else if (verdict.freshFor <= 0) this.#refuseWaiters()
  }

  #refuseWaiters(): void {
    this.#lookup.engine.refuseWaiters(this.#options.fill, this.#lookup.keys.entry)
  }

  #judge(response: Candidate): StorageVerdict {
    if (this.#excluded !== undefined) return refuseFill(this.#excluded)
    if (this.#tagsOf(response).length > MAX_ENTRY_TAGS) return refuseFill('tags')
    if (response.status >= 500 && this.#replacesErrors()) return refuseFill('error')
    return judgeFill(this.#lookup, this.#request, this.#whole(response), this.#head!.field)
  }

  /** Returns the response as it would be stored: a 304 completes the former one. */
  #whole({ status, headers }: Candidate): Candidate {
    const response = { status, headers: { ...headers, ...this.#momentary } }
    return this.#isRevalidation(response)
      ? refreshedResponse(responseIn(this.#former()!), response)
      : response
  }

  /** Returns whether the former response is served instead of an error. */
  #replacesErrors(): boolean {
    const former = this.#former()
    if (former === undefined) return false
    return this.#lookup.now < deadlinesOf(former, this.#options.former!.validUntil!).error
  }

  #onComplete(sent: SentResponse): void {
    const { fill, position } = this.#options
    const entry = this.#entryOf(sent)
    if (entry === undefined) {
      const verdict = this.#verdict
      return this.#end(verdict === undefined || verdict.isStored ? 'aborted' : verdict.reason)
    }
    const isStored = position !== undefined
    this.#count(isStored ? undefined : 'store', isStored ? entry : undefined)
    const lookup = this.#lookup
    const { engine, keys, resourceKeys } = lookup
    if (responseIn(entry).sharing === 'public') engine.publicResources.set(resourceKeys.entry, true)
    else engine.publicResources.delete(resourceKeys.entry)
    // It was invalidated meanwhile: the next response can be stored.
    if (keys.log.isPending(entry)) return fill.abandon()
    if (position === undefined) return fill.complete(entry, undefined)
    engine.resume(keys.entry)
    if (!isNeverFresh(entry))
      return fill.complete(entry, (token) => storeEntry(lookup, entry, token))
    this.#refuseWaiters()
    const former = this.#isRevalidation(sent) ? this.#former() : undefined
    if (former === undefined || !isStillGood(former, entry)) void storeEntry(lookup, entry, '')
  }

  /** Returns the entry of this response. Undefined: it is not stored. */
  #entryOf(sent: SentResponse): CacheEntry | undefined {
    if (this.#entry !== undefined) return this.#entry
    // A session or user may have come into being after the head was known.
    const verdict = this.#verdict?.isStored ? this.#judge(sent) : this.#verdict
    this.#verdict = verdict
    if (!verdict?.isStored || this.#lookup.x.method !== 'GET') return undefined
    const former = this.#isRevalidation(sent) ? this.#former()! : undefined
    const response = { ...this.#whole(sent), body: former?.body ?? sent.body }
    this.#entry = createEntry(this.#lookup, {
      response,
      terms: verdict,
      former,
      position: this.#options.position,
      tags: this.#tagsOf(response),
      vary: this.#addedVary,
      removed: former ? responseIn(former).removed : this.#head!.removed,
      cost: Math.round(this.#lookup.engine.cacheStore.store.monotonic() - this.#began),
    })
    return this.#entry
  }

  /** Returns the tags of the mount, of the handler, of inner caches and of the response's own fields. */
  #tagsOf(response: Candidate): string[] {
    const groups = tagFields(groupsOf(response), 'the response')
    return [...new Set([...this.#lookup.tags, ...this.#addedTags, ...groups])]
  }

  /** Returns another reply than the handler's: the former response for an error, or less than the whole. */
  #replacement(sent: SentResponse): Reply | undefined {
    const { mount, engine, keys, began } = this.#lookup
    const { client, seesConditions } = this.#request
    const former = this.#former()
    if (former !== undefined && sent.status >= 500) {
      if (!this.#replacesErrors()) return undefined
      // Koa hands in a thrown error without a head.
      this.#end('error')
      engine.count(mount.name, 'stale', keys.entry, undefined, began)
      const status = `fwd=stale; fwd-status=${sent.status}`
      return synchronous(replyFrom(former, client, this.#addedFields(former, status)))
    }
    const entry = this.#entryOf(sent)
    if (this.#isRevalidation(sent)) {
      const fields = endToEndFields(this.#whole(sent))
      const whole = entry ?? { ...former!, extra: { ...responseIn(former!), fields } }
      const status = 'fwd=stale; fwd-status=304'
      return synchronous(replyFrom(whole, client, this.#addedFields(whole, status)))
    }
    if (!isConditional(client)) return undefined
    if (entry !== undefined && isReadable(entry, client))
      return synchronous(replyFrom(entry, client, {}))
    // The handler did not see the conditions, and its response is not stored after all.
    return seesConditions ? undefined : notModifiedReply(sent, client)
  }

  #addedFields(entry: CacheEntry, status: string): HeaderFields {
    this.#status = status
    return { 'Cache-Status': `turnpike; ${status}`, Age: String(ageOf(entry, this.#lookup.now)) }
  }

  #headers(): HeaderFields {
    const { forward, position } = this.#options
    if (this.#status !== undefined) return { 'Cache-Status': `turnpike; ${this.#status}` }
    const verdict = this.#verdict
    if (verdict?.isStored && position !== undefined)
      return { 'Cache-Status': `turnpike; fwd=${forward}; stored` }
    const reason = verdict?.isStored === false ? verdict.reason : 'store'
    return { 'Cache-Status': forwardStatus(forward, verdict && reason) }
  }

  /** @param entry what is stored, if anything is */
  #count(reason: CacheReason | undefined, entry?: CacheEntry): void {
    if (this.#isCounted) return
    this.#isCounted = true
    const { engine, mount, keys, began } = this.#lookup
    engine.count(mount.name, 'miss', keys.entry, reason, began)
    const ms = engine.cacheStore.store.monotonic() - this.#began
    reportFill(engine.context.events, { name: mount.name, key: keys.entry, reason, entry, ms })
  }

  /** Ends a fill without an entry. Only the first call counts. */
  #end(reason: CacheReason): void {
    this.#count(reason)
    const { fill, forward } = this.#options
    if (fill.isOver) return
    const { engine, keys, x, resourceKeys } = this.#lookup
    if (reason === 'authorization') engine.markPersonal(resourceKeys.entry)
    const mayBackOff = forward === 'stale' && (reason !== 'aborted' || x.isRefresh)
    engine.endFill(fill, keys.entry, { reason, status: this.#head?.status ?? 0, mayBackOff })
  }
}

/** Returns the fields of the connection and of the moment. A capture does not see them. */
function momentaryFields(field: FieldReader): HeaderFields {
  const named = ['connection', 'date'].flatMap((name) => {
    const value = field(name)
    return value === undefined ? [] : [[name, value] as const]
  })
  return Object.fromEntries(named)
}

/**
 * Only a body that has to be decoded is a promise. A former entry is decoded before the handler runs,
 * and none is replied from that the client cannot read.
 */
const synchronous = (reply: Reply | Promise<Reply>): Reply => reply as Reply
