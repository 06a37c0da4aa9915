/** A response on its way from the handler to the client: is it kept, shared, or replaced by what was there before? */
import type { CacheEntry } from '../../caching/entry.ts'
import type { Flight } from '../../caching/single-flight.ts'
import type { LogPosition } from '../../caching/invalidation-log.ts'
import type { LookupResult } from '../../caching/entry-keys.ts'
import type { HeaderFields, Plan, Reply, SentResponse, SentHead } from '../../http/exchange.ts'
import { directivesOf } from './directives.ts'
import { deadlines, PASS_FOR } from './engine.ts'
import { isPersonal } from './personal.ts'
import { groupsOf, judge, storedFields, varyOf, type Verdict } from './policy.ts'
import { CONDITIONS, isConditional, replyFrom, type Asked } from './reply.ts'
import { tagField } from '../../caching/names.ts'
import { variantOf } from './keys.ts'
import { packed, storedIn, storedOf, type Stored } from './stored.ts'
import type { Visit } from './visit.ts'

/** Why the request was handed on (RFC 9211, 2.2). */
export type Forward = 'miss' | 'stale' | 'request' | 'bypass'

export interface MakingOptions {
  /** What the record of invalidations said before the handler's turn; undefined: nothing can be stored. */
  origin: LogPosition | undefined
  flight: Flight | undefined
  /** What was there before: served in an error's place, and revalidated. */
  former: LookupResult | undefined
  forward: Forward
}

export class Making<Native> {
  readonly #visit: Visit<Native>
  readonly #options: MakingOptions
  readonly #began: number
  /** The request as the client sent it: the handler sees other conditions. */
  readonly #asked: Asked
  readonly #added: string[] = []
  #verdict: Verdict | undefined
  #entry: CacheEntry | undefined
  #settled = false
  /** What was said of an answer that took the handler's place. */
  #status: string | undefined

  constructor(visit: Visit<Native>, options: MakingOptions) {
    this.#visit = visit
    this.#options = options
    this.#began = visit.engine.shelf.store.monotonic()
    const { x } = visit
    const conditions = new Map<string, string | undefined>(
      CONDITIONS.map((name) => [name, x.header(name)]),
    )
    this.#asked = {
      method: x.method,
      header: (name) => (conditions.has(name) ? conditions.get(name) : x.header(name)),
    }
  }

  /** The plan that carries it out. */
  plan(): Plan {
    const { mount } = this.#visit
    const former = this.#former()
    const mayReplace = former !== undefined || isConditional(this.#asked)
    const hidden = Object.fromEntries(CONDITIONS.map((name) => [name, undefined]))
    return {
      requestHeaders: { ...hidden, ...this.#validators() },
      responseHelpers: { cacheTags: (...tags: string[]) => void this.#added.push(...tags.flat()) },
      headers: () => this.#head(),
      capture: {
        limit: mount.maxBodyBytes,
        onHead: (head) => this.#seen(head),
        onComplete: (sent) => this.#then(sent),
        onOverflow: () => this.#settle(true),
        onError: () => this.#settle(true),
        ...(mayReplace && { replace: (sent: SentResponse) => this.#instead(sent) }),
      },
      onFinish: () => this.#settle(),
    }
  }

  /** The entry that was there before, if it can be of use still. */
  #former(): CacheEntry | undefined {
    const { former } = this.#options
    return former?.validUntil === undefined ? undefined : former.entry
  }

  /** What asks the handler whether the former entry is still right (RFC 9111, 4.3.1). */
  #validators(): Record<string, string> {
    const former = this.#former()
    if (former === undefined || !storedIn(former).own || storedIn(former).status !== 200) return {}
    const { etag, fields } = storedIn(former)
    const modified = fields.find(([name]) => name === 'last-modified')?.[1]
    return {
      ...(fields.some(([name]) => name === 'etag') &&
        etag !== undefined && { 'if-none-match': etag }),
      ...(typeof modified === 'string' && { 'if-modified-since': modified }),
    }
  }

  #isRevalidation({ status }: SentHead): boolean {
    return status === 304 && Object.keys(this.#validators()).length > 0
  }

  #seen(head: SentHead): void {
    this.#verdict = this.#judge(head)
    // Nobody waits for the end of what cannot be shared.
    if (!this.#verdict.store) this.#settle(true)
  }

  #judge(head: SentHead): Verdict {
    const { x, mount, now } = this.#visit
    const { scope, public: isPublic = false } = mount.options
    const no = (why: string): Verdict => ({ store: false, why })
    if (directivesOf(x.header('cache-control')).has('no-store')) return no('request')
    if (scope === undefined && !isPublic && isPersonal(x.native)) return no('session')
    const length = Number(head.headers['content-length'] ?? 0)
    if (length > mount.maxBodyBytes) return no('size')
    const authorized =
      mount.rules.ttl === 'auto' && !isPublic && x.header('authorization') !== undefined
    const response = this.#isRevalidation(head) ? this.#merged(head) : head
    return judge(response, { ...mount.rules, authorized }, now)
  }

  /** The former response with the fields of a 304 (RFC 9111, 4.3.4 and 3.2). */
  #merged({ headers }: SentHead): SentHead {
    const former = storedIn(this.#former()!)
    const fresh = Object.fromEntries(storedFields({ status: 304, headers }))
    for (const name of ['content-encoding', 'content-type', 'content-range']) delete fresh[name]
    return { status: former.status, headers: { ...Object.fromEntries(former.fields), ...fresh } }
  }

  #then(sent: SentResponse): void {
    const entry = this.#entryOf(sent)
    if (entry === undefined) return this.#settle(true)
    const { flight, origin } = this.#options
    // It was invalidated meanwhile: the next one can be kept.
    if (this.#visit.base.ledger.owes(entry)) return this.#settle()
    const { engine, mount, place, base, token } = this.#visit
    this.#settled = true
    flight?.land(entry)
    const drop = (): void => {
      this.#visit.giveBack()
      flight?.end()
    }
    if (origin === undefined) return drop()
    engine.unmarkPass(place.entry)
    const store = (entry: CacheEntry): void => {
      void engine.save(mount.name, place, entry, token, base).finally(() => flight?.end())
    }
    const pack = mount.options.compress === false ? entry : packed(entry)
    if (pack instanceof Promise) pack.then(store, drop)
    else store(pack)
  }

  /** The entry that this response makes; undefined if it is not to be kept. */
  #entryOf(sent: SentResponse): CacheEntry | undefined {
    if (this.#entry !== undefined) return this.#entry
    // Tags and the session count as they are at the end.
    const verdict = this.#verdict?.store ? this.#judge(sent) : this.#verdict
    if (!verdict?.store) return undefined
    const { x, identity, mount, tags, now, header } = this.#visit
    const former = this.#isRevalidation(sent) ? this.#former()! : undefined
    const response = former ? { ...this.#merged(sent), body: former.body } : sent
    if (x.method !== 'GET') return undefined
    const vary = [...new Set([...varyOf(response), ...mount.vary])].sort()
    const variant = vary.length > 0 ? variantOf(vary, header) : ''
    const kept = storedOf(response, vary, variant)
    const extra: Stored = former
      ? { ...kept, packed: storedIn(former).packed, length: storedIn(former).length }
      : kept
    const { origin } = this.#options
    const { freshFor, staleFor, errorFor, initialAge } = verdict
    const freshUntil = now + freshFor
    const declared = [...this.#added, ...groupsOf(response)].map(tagField)
    this.#entry = {
      nonce: origin?.nonce ?? '',
      sequence: origin?.sequence ?? 0,
      tags: [...new Set([...tags, ...declared])],
      name: identity.path,
      storedAt: now,
      initialAge,
      freshUntil,
      staleUntil: freshUntil + staleFor,
      errorUntil: freshUntil + errorFor,
      cost: Math.round(mount.engine.shelf.store.monotonic() - this.#began),
      extra,
      body: response.body,
    }
    return this.#entry
  }

  /** Another answer than the handler's: the former one for an error, or less than the whole. */
  #instead(sent: SentResponse): Reply | undefined {
    const { mount, now, engine, place } = this.#visit
    const x = this.#asked
    const former = this.#former()
    if (former !== undefined && sent.status >= 500) {
      const { error } = deadlines(former, this.#options.former!.validUntil!)
      if (now >= error) return undefined
      engine.count(mount.name, 'stale', place.entry)
      return immediate(
        replyFrom(former, x, this.#fields(former, `fwd=stale; fwd-status=${sent.status}`)),
      )
    }
    const entry = this.#entryOf(sent)
    if (this.#isRevalidation(sent)) {
      const whole = entry ?? {
        ...former!,
        extra: { ...storedIn(former!), fields: storedFields(this.#merged(sent)) },
      }
      return immediate(replyFrom(whole, x, this.#fields(whole, 'fwd=stale; fwd-status=304')))
    }
    if (entry === undefined || !isConditional(x)) return undefined
    return immediate(replyFrom(entry, x, {}))
  }

  #fields(entry: CacheEntry, status: string): HeaderFields {
    this.#status = status
    const age = Math.floor((this.#visit.now - entry.storedAt + entry.initialAge) / 1000)
    return { 'Cache-Status': `turnpike; ${status}`, Age: String(Math.max(0, age)) }
  }

  #head(): HeaderFields {
    const { forward } = this.#options
    if (this.#status !== undefined) return { 'Cache-Status': `turnpike; ${this.#status}` }
    const isStored =
      this.#verdict?.store === true &&
      this.#options.origin !== undefined &&
      this.#visit.x.method === 'GET'
    return { 'Cache-Status': `turnpike; fwd=${forward}${isStored ? '; stored' : ''}` }
  }

  /** It came to nothing that can be kept: nobody waits any longer; `again` if the next one will not be kept either. */
  #settle(again = false): void {
    if (this.#settled) return
    this.#settled = true
    const { engine, place } = this.#visit
    if (again) engine.markPass(place.entry)
    this.#options.flight?.end()
    this.#visit.giveBack(again ? PASS_FOR : 0)
  }
}

/** Only what has to be decoded is waited for: a former entry comes here decoded. */
const immediate = (reply: Reply | Promise<Reply>): Reply | undefined =>
  reply instanceof Promise ? undefined : reply
