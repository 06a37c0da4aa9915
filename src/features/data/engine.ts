/** Values in the cache store: reading, writing, and loading once for all callers. */
import { encodeEntry, entryTtl, type CacheEntry } from '../../caching/entry.ts'
import type { LookupResult, EntryKeys } from '../../caching/entry-keys.ts'
import type { CacheStore } from '../../caching/cache-store.ts'
import { writeEntry } from '../../caching/entry-operations.ts'
import type { LogPosition } from '../../caching/invalidation-log.ts'
import { digest } from '../../caching/tags.ts'
import { entryState } from '../../caching/validity.ts'
import { isUnavailable, TurnpikeError } from '../../errors.ts'
import { keyPart } from '../../store/keys.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { CounterRow } from '../../feature-counts.ts'
import { DataLookup } from './data-lookup.ts'
import {
  decodeValue,
  encodeValue,
  type DataSerializer,
  type ValueForm,
  type StoredValue,
} from './value.ts'

/** The settings of a namespace. Times in ms, sizes in bytes. */
export interface DataSettings {
  readonly namespace: string
  readonly ttl: number
  /** Smaller values are not compressed. */
  readonly packFrom: number
  readonly serializer: DataSerializer | undefined
  /** Size of the near cache; 0: none. */
  readonly nearBytes: number
}

/** For how long a value is kept, and what invalidates it. Times in ms. */
export interface Lifetime {
  /** 0: it is not stored. */
  readonly ttl: number
  readonly tags: readonly string[]
  readonly staleFor: number
  readonly errorFor: number
}

/** How long callers that waited may share a value that is not stored, in ms. */
const SHARED_MS = 1_000

/** The values of one namespace. */
export class DataEngine {
  readonly cacheStore: CacheStore
  readonly settings: DataSettings
  readonly #context: ExtensionContext
  readonly #counts: CounterRow

  constructor(context: ExtensionContext, cacheStore: CacheStore, settings: DataSettings) {
    this.#context = context
    this.cacheStore = cacheStore
    this.settings = settings
    this.#counts = context.events.counts.row('data', settings.namespace || 'data')
  }

  /** Counts a read. */
  count(outcome: 'hit' | 'near' | 'stale' | 'collapsed' | 'miss'): void {
    this.#counts.count(outcome)
  }

  /** Returns what patterns are matched against: the key with its namespace. */
  nameOf(key: string): string {
    const { namespace } = this.settings
    return namespace === '' ? key : `${namespace}:${key}`
  }

  /** Returns the keys of a value's entry. */
  keysOf(key: string, tenant: string | undefined): EntryKeys {
    const { keys } = this.#context
    const tag = keys.tag(digest([this.settings.namespace, key]), tenant)
    const entry = keys.key('data', tag, keyPart(this.nameOf(key), 150))
    return { entry, lease: `${entry}:lease`, log: this.cacheStore.invalidationLog(tenant) }
  }

  /** Returns the tag by which a write removes a value from the near caches of all processes. */
  #ownTags(key: string): string[] {
    const { nearBytes, namespace } = this.settings
    return nearBytes > 0 ? [`u:${digest(['data', namespace, key])}`] : []
  }

  lookup(key: string, tenant: string | undefined, waitMs: number, leaseMs: number): DataLookup {
    return new DataLookup({
      cacheStore: this.cacheStore,
      keys: this.keysOf(key, tenant),
      tags: this.#ownTags(key),
      nearBytes: this.settings.nearBytes,
      waitMs,
      leaseMs,
      onUnavailable: (error) => this.reportUnavailable(error),
    })
  }

  /** Looks a value up. @throws TP_UNAVAILABLE */
  async find(key: string, tenant: string | undefined): Promise<LookupResult> {
    return await this.lookup(key, tenant, 0, 0).lookup()
  }

  /** Reads a value, and counts it. Undefined if there is none that may be used. @throws TP_UNAVAILABLE */
  async read(key: string, tenant: string | undefined): Promise<unknown> {
    const found = await this.find(key, tenant)
    const value = await this.valueOf(found)
    this.count(value === undefined ? 'miss' : found.near ? 'near' : 'hit')
    return value
  }

  /** Returns the value that was found. Undefined if there is none that may be used. */
  async valueOf(found: LookupResult): Promise<unknown> {
    if (entryState(found) === 'fresh') return await this.valueIn(found.entry!)
    // A counter is a plain integer.
    const text = found.other?.toString('latin1') ?? ''
    return /^-?\d+$/.test(text) ? Number(text) : undefined
  }

  /** Returns the value in an entry. A broken one is reported, and counts as missing. */
  async valueIn({ extra, body }: CacheEntry): Promise<unknown> {
    try {
      return await decodeValue(extra as ValueForm, body, this.settings.serializer)
    } catch (error) {
      this.report(error)
      return undefined
    }
  }

  encode(value: unknown): Promise<StoredValue> {
    return encodeValue(value, this.settings.packFrom, this.settings.serializer)
  }

  /** Writes a value. A value that is being loaded is not stored after it. @throws TP_UNAVAILABLE, TP_VALUE */
  async set(
    key: string,
    value: unknown,
    lifetime: Lifetime,
    tenant: string | undefined,
  ): Promise<void> {
    if (value === undefined) {
      const message = 'tp.data: undefined cannot be stored. Delete the key, or store null.'
      throw new TurnpikeError('TP_VALUE', message)
    }
    const keys = this.keysOf(key, tenant)
    const stored = await this.encode(value)
    const position = await this.#positionForWrite(key, keys, lifetime.ttl)
    const { leases, store } = this.cacheStore
    const entry = this.createEntry(key, stored, lifetime, position, 0)
    const message = leases.message(keys.lease, 'refused')
    const args = [encodeEntry(entry), entryTtl(entry), leases.channel, message]
    await store.run(writeEntry, [keys.entry, keys.lease], args)
  }

  /** Returns the log's position for a write. Other processes drop their near copy of the value. */
  async #positionForWrite(key: string, { log }: EntryKeys, ttl: number): Promise<LogPosition> {
    const renewed = log.needsRenewal(ttl) ? await log.open(ttl) : undefined
    const own = this.#ownTags(key)
    if (own.length > 0) return await log.invalidate(own, 'hard')
    if (renewed) return renewed
    const { nonce, sequence } = await log.read([])
    return nonce === undefined ? await log.open(ttl) : { nonce, sequence }
  }

  /** Deletes a value. Returns whether there was one. @throws TP_UNAVAILABLE */
  async delete(key: string, tenant: string | undefined): Promise<boolean> {
    const keys = this.keysOf(key, tenant)
    const { leases, store } = this.cacheStore
    const args = ['', 0, leases.channel, leases.message(keys.lease, 'refused')]
    const own = this.#ownTags(key)
    const [before] = await Promise.all([
      store.run(writeEntry, [keys.entry, keys.lease], args),
      own.length > 0 && keys.log.invalidate(own, 'hard'),
    ])
    return before === 1
  }

  /** Returns the entry of a value. @param cost how long the load took, in ms */
  createEntry(
    key: string,
    { form, body }: StoredValue,
    { ttl, tags, staleFor, errorFor }: Lifetime,
    position: LogPosition,
    cost: number,
  ): CacheEntry {
    const storedAt = this.cacheStore.store.now()
    // Callers that waited share also what is not stored.
    const freshUntil = storedAt + (ttl || SHARED_MS)
    return {
      ...position,
      tags: [...new Set([...this.#ownTags(key), ...tags])],
      name: this.nameOf(key),
      storedAt,
      initialAge: 0,
      freshUntil,
      staleUntil: freshUntil + staleFor,
      errorUntil: freshUntil + errorFor,
      keptUntil: freshUntil,
      cost,
      extra: form,
      body,
    }
  }

  /** Reports that the store was unavailable. @throws any other error */
  reportUnavailable(error: unknown): void {
    if (!isUnavailable(error)) throw error
    const { events } = this.#context
    if (!events.hasListeners('unavailable')) return
    const { reason, uncertain } = error
    const name = this.settings.namespace
    events.emit('unavailable', { feature: 'data', name, reason, uncertain, rule: 'open' })
  }

  report(error: unknown): void {
    this.#context.events.emit('error', { feature: 'data', name: this.settings.namespace, error })
  }
}
