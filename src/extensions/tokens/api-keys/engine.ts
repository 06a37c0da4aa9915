/** API keys without HTTP: digests in, what is known of them out. */
import { isUnavailable } from '../../../errors.ts'
import type { TokenEvent } from '../../../event-types.ts'
import type { ExtensionContext } from '../../../extension.ts'
import type { RequestBudget } from '../../../request-budget.ts'
import { KeyLookup, type KeyLookupSettings, type LookupCaller } from './key-lookup.ts'
import { readReply, type FoundOut, type KeyReply } from './key-record.ts'
import { KeyUses, type KeyUseSettings } from './key-uses.ts'
import { KnownKeys, type FoundKey, type KnownKey } from './known-keys.ts'
import { findKey, forgetKey } from './operations.ts'

/** Settings of one mount; times in ms. */
export interface ApiKeySettings extends KeyLookupSettings, KeyUseSettings {
  /** 0: nothing is remembered in this process. */
  readonly near: number
  readonly fail: 'lookup' | 'closed'
}

/** Who asks for a key. */
export interface KeyCaller extends LookupCaller {
  readonly budget?: RequestBudget | undefined
  /** Result of `ask()`. */
  readonly early?: Promise<string> | undefined
}

export type KeyOutcome =
  | { readonly kind: 'known'; readonly key: FoundKey }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'limited'; readonly retryAfterMs: number }

/** A search that requests for one key share, until a time by `performance.now()`. */
interface KeySearch {
  readonly result: Promise<KeyOutcome>
  readonly until: number
}

const MAX_LOOKUPS = 3
/** Pauses between two looks at another process's lookup, in ms. */
const [FIRST_PAUSE, LONGEST_PAUSE] = [10, 100]
/** No revision: what was read so is not remembered. */
const OUTDATED = -1

export class ApiKeyEngine {
  readonly settings: ApiKeySettings
  readonly #context: ExtensionContext
  readonly #known: KnownKeys
  readonly #lookup: KeyLookup
  readonly #uses: KeyUses
  /** Searches of this process, by tag: requests for one key share one. */
  readonly #searches = new Map<string, KeySearch>()
  readonly #channel: string

  constructor(context: ExtensionContext, settings: ApiKeySettings) {
    this.#context = context
    this.settings = settings
    this.#known = new KnownKeys(settings.maxKeys)
    this.#lookup = new KeyLookup(context, settings)
    this.#uses = new KeyUses(context, settings)
    this.#channel = context.keys.channel('api-key', settings.name)
    if (settings.near === 0) return
    const leave = context.store.subscribe(
      this.#channel,
      (tag) => this.#forget(tag),
      // Messages may be missed from now on.
      () => this.#known.clear(),
    )
    context.onClose(() => Promise.resolve(leave()))
  }

  /** Returns what this process knows of a key. */
  recall(digest: string, tenant: string | undefined): KeyOutcome | undefined {
    if (this.settings.near === 0) return undefined
    const tag = this.#tag(digest, tenant)
    const known = this.#known.get(tag, this.#context.store.monotonic())
    return known && this.#outcomeOf(known, tag)
  }

  /** Returns true if `recall()` would return something. */
  isRemembered(digest: string, tenant: string | undefined): boolean {
    if (this.settings.near === 0) return false
    const tag = this.#tag(digest, tenant)
    return this.#known.get(tag, this.#context.store.monotonic()) !== undefined
  }

  /** Asks Redis what is known of a key, for `find()` later. Nothing is looked up. */
  ask(digest: string, tenant: string | undefined, budget?: RequestBudget): Promise<string> {
    const key = this.#key(this.#tag(digest, tenant))
    return this.#context.store.run(findKey, [key], ['', 0], budget)
  }

  /**
   * Finds out about a key: from Redis, or from `lookup`.
   * @throws TP_UNAVAILABLE if Redis cannot answer and the rule is 'closed'; what `lookup` throws
   * @throws TP_VALUE for a record that cannot be used
   */
  find(digest: string, caller: KeyCaller): Promise<KeyOutcome> {
    const tag = this.#tag(digest, caller.tenant)
    const retryAfterMs = this.#lookup.waitOf(caller.address)
    if (retryAfterMs > 0) return this.#findKnown(digest, tag, caller, retryAfterMs)
    const now = performance.now()
    const running = this.#searches.get(tag)
    if (running !== undefined && running.until > now)
      return this.#join(running, digest, tag, caller)
    const until = now + this.settings.lookupTimeout
    const search = { result: this.#search(digest, tag, caller, until), until }
    this.#searches.set(tag, search)
    const end = (): void => {
      if (this.#searches.get(tag) === search) this.#searches.delete(tag)
    }
    search.result.then(end, end)
    return search.result
  }

  /** Shares a search. Afterwards begins another one: `lookup` may never settle. */
  async #join(
    search: KeySearch,
    digest: string,
    tag: string,
    caller: KeyCaller,
  ): Promise<KeyOutcome> {
    let timer: NodeJS.Timeout | undefined
    const over = new Promise<undefined>(
      (resolve) => (timer = setTimeout(resolve, search.until - performance.now(), undefined)),
    )
    const outcome = await Promise.race([search.result, over]).finally(() => clearTimeout(timer))
    if (outcome === undefined) return await this.find(digest, { ...caller, early: undefined })
    // Another client's address is limited, not this one's.
    return outcome.kind === 'limited'
      ? await this.#search(digest, tag, caller, search.until)
      : outcome
  }

  /** As `find()`, for an address that may have nothing looked up. */
  async #findKnown(
    digest: string,
    tag: string,
    { tenant, budget, early }: KeyCaller,
    retryAfterMs: number,
  ): Promise<KeyOutcome> {
    const { revision } = this.#known
    const began = this.#context.events.begin('token')
    try {
      const reply = readReply(await (early ?? this.ask(digest, tenant, budget)))
      if (isKnown(reply)) return this.#remember(reply, digest, tag, revision, began)
    } catch (error) {
      if (!isUnavailable(error)) throw error
    }
    return this.#limited(tag, retryAfterMs, began)
  }

  #limited(tag: string, retryAfterMs: number, began: number | undefined): KeyOutcome {
    this.#tell('limited', tag, began)
    return { kind: 'limited', retryAfterMs }
  }

  /** @param until when to wait no longer for another process, by `performance.now()` */
  async #search(
    digest: string,
    tag: string,
    caller: KeyCaller,
    until: number,
  ): Promise<KeyOutcome> {
    const key = this.#key(tag)
    const began = until - this.settings.lookupTimeout
    let { early, budget } = caller
    let [pause, lookups] = [FIRST_PAUSE, 0]
    for (;;) {
      const { revision } = this.#known
      const token = this.#lookup.newToken()
      let reply: KeyReply
      try {
        reply = readReply((await early) || (await this.#lookup.claim(key, token, budget)))
      } catch (error) {
        return await this.#withoutStore(error, digest, tag, caller, began)
      }
      // The request's budget is for the first answer. What follows is the lookup's time.
      early = budget = undefined
      if (isKnown(reply)) return this.#remember(reply, digest, tag, revision, began)
      if (reply.kind === 'busy' && performance.now() < until) {
        await new Promise((resolve) => setTimeout(resolve, pause))
        pause = Math.min(pause * 2, LONGEST_PAUSE)
        continue
      }
      const retryAfterMs = this.#lookup.waitOf(caller.address)
      if (retryAfterMs > 0) {
        this.#lookup.release(key, token)
        return this.#limited(tag, retryAfterMs, began)
      }
      const { found, stored } = await this.#lookup.fill(key, token, digest, caller)
      // What is damaged in Redis stays there until it ends, so nothing was stored in its place.
      const isDamaged = reply.kind === 'nothing'
      if (stored.kind === 'ours' || isDamaged)
        return this.#remember(found, digest, tag, revision, began)
      if (isKnown(stored)) return this.#remember(stored, digest, tag, revision, began)
      // The key was invalidated during the lookup. What was found may be outdated.
      if (++lookups === MAX_LOOKUPS || performance.now() >= until)
        return this.#remember(found, digest, tag, OUTDATED, began)
    }
  }

  async #withoutStore(
    error: unknown,
    digest: string,
    tag: string,
    caller: KeyCaller,
    began: number,
  ): Promise<KeyOutcome> {
    if (!isUnavailable(error)) throw error
    const { name, fail: rule } = this.settings
    const { reason, uncertain } = error
    const event = { feature: 'apiKeys', name, reason, uncertain, rule }
    this.#context.events.emit('unavailable', event)
    if (rule === 'closed') throw error
    const retryAfterMs = this.#lookup.waitOf(caller.address)
    if (retryAfterMs > 0) return this.#limited(tag, retryAfterMs, began)
    const { revision } = this.#known
    return this.#remember(await this.#lookup.ask(digest, caller), digest, tag, revision, began)
  }

  /**
   * Remembers what was found out.
   * @param revision when it was asked for. If something was forgotten since, it may be outdated.
   * @param began when the search began, by `performance.now()`
   */
  #remember(
    found: FoundOut,
    digest: string,
    tag: string,
    revision: number,
    began: number | undefined,
  ): KeyOutcome {
    const known: KnownKey =
      found.kind === 'record'
        ? { key: { digest, by: this, record: found.record }, expiresAt: found.expiresAt }
        : { key: undefined, expiresAt: Infinity }
    const { near, missTtl } = this.settings
    const life = known.key ? near : Math.min(near, missTtl)
    if (life > 0 && revision === this.#known.revision)
      this.#known.set(tag, known, this.#context.store.monotonic() + life)
    return this.#outcomeOf(known, tag, began)
  }

  #outcomeOf({ key, expiresAt }: KnownKey, tag: string, began?: number): KeyOutcome {
    if (key === undefined || expiresAt <= this.#context.store.now()) {
      this.#tell('refused', tag, began)
      return { kind: 'unknown' }
    }
    this.#tell('accepted', tag, began)
    this.#uses.note(key, tag)
    return { kind: 'known', key }
  }

  /** @param revokedFor in ms; 0: forget. @throws TP_UNAVAILABLE */
  async forget(digest: string, tenant: string | undefined, revokedFor: number): Promise<boolean> {
    const tag = this.#tag(digest, tenant)
    this.#forget(tag)
    const args = [revokedFor, this.#channel, tag]
    const began = this.#context.events.begin('token')
    const count = await this.#context.store.run(forgetKey, [this.#key(tag)], args)
    this.#forget(tag)
    if (revokedFor > 0) {
      this.#tell('revoked', tag, began)
      this.#context.events.emit('revoked', { type: 'api-key', subject: digest, tenant })
    }
    return count === 1
  }

  /** @throws TP_UNAVAILABLE */
  async lastUsed(digest: string, tenant: string | undefined): Promise<Date | undefined> {
    return await this.#uses.lastUsed(this.#tag(digest, tenant))
  }

  #forget(tag: string): void {
    this.#known.forget(tag)
    this.#searches.delete(tag)
  }

  #tag(digest: string, tenant: string | undefined): string {
    // Shorter than in hexadecimal digits, so that it stands in the key as it is.
    const short = Buffer.from(digest, 'hex').toString('base64url')
    return this.#context.keys.tag([this.settings.name, short], tenant)
  }

  #key(tag: string): string {
    return this.#context.keys.key('api-key', tag)
  }

  #tell(type: TokenEvent['type'], subject: string, began?: number): void {
    const { events } = this.#context
    if (!events.hasListeners('token')) return
    const { name } = this.settings
    const of = { subject, user: undefined, family: undefined, ms: events.since(began) }
    events.emit('token', { feature: 'apiKeys', name, type, ...of })
  }
}

const isKnown = (reply: KeyReply): reply is FoundOut =>
  reply.kind === 'record' || reply.kind === 'none'
