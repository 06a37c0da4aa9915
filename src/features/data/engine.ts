/** Values on the shelf: reading, writing, and loading once for all who ask. */
import { encodeEntry, entryTtl, type CacheEntry } from '../../caching/entry.ts'
import type { Flight } from '../../caching/single-flight.ts'
import type { LogPosition } from '../../caching/invalidation-log.ts'
import { digest } from '../../caching/names.ts'
import type { LookupResult, EntryKeys } from '../../caching/entry-keys.ts'
import type { CacheStore } from '../../caching/cache-store.ts'
import { writeEntry } from '../../caching/entry-operations.ts'
import { isUnavailable } from '../../errors.ts'
import { keyPart } from '../../store/keys.ts'
import type { ExtensionContext } from '../../extension.ts'
import { made } from './made.ts'
import type { Keeping, Loading, Settings } from './settings.ts'
import { mayShare } from './share.ts'
import { read, write, type Written } from './value.ts'
import { isFresh, isSpare, isStale } from './worth.ts'

export class DataEngine {
  readonly #context: ExtensionContext
  readonly #shelf: CacheStore
  readonly #settings: Settings

  constructor(context: ExtensionContext, shelf: CacheStore, settings: Settings) {
    this.#context = context
    this.#shelf = shelf
    this.#settings = settings
  }

  /** The name of a key in its namespace: what patterns are matched against. */
  name(key: string): string {
    const { space } = this.#settings
    return space === '' ? key : `${space}:${key}`
  }

  place(key: string, tenant: string | undefined): EntryKeys {
    const { keys } = this.#context
    const { space } = this.#settings
    const entry = keys.key(
      'data',
      keys.tag(digest([space, key]), tenant),
      keyPart(this.name(key), 150),
    )
    return { entry, lease: `${entry}:lease`, ledger: this.#shelf.invalidationLog(tenant) }
  }

  /** What every value of a namespace with a near cache can be dropped by, in all processes. */
  #own(key: string): string[] {
    return this.#settings.near > 0 ? [`u:${digest(['data', this.#settings.space, key])}`] : []
  }

  async find(
    key: string,
    tenant: string | undefined,
    token = '',
    leaseMs = 0,
  ): Promise<LookupResult> {
    const place = this.place(key, tenant)
    const near = this.#settings.near > 0 ? this.#shelf.near(this.#settings.near) : undefined
    const kept = near?.look(place)
    if (kept) return kept
    const wish = { token, leaseMs, tags: this.#own(key) }
    let found = await this.#shelf.lookup(place, wish)
    // Invalidated while it was fresh, by what Redis was not asked for: it gave no lease.
    if (token !== '' && found.entry && found.lease === 'none' && !isFresh(found))
      found = await this.#shelf.lookup(place, { ...wish, invalid: found.entry })
    if (near && isFresh(found)) near.keep(place, found)
    return found
  }

  /** The value that was found; undefined if there is none that may be used. */
  async valueOf(found: LookupResult): Promise<unknown> {
    if (isFresh(found)) return await this.#read(found.entry!)
    // A counter is plain text.
    const text = found.other?.toString('latin1') ?? ''
    return /^-?\d+$/.test(text) ? Number(text) : undefined
  }

  async #read({ extra, body }: CacheEntry): Promise<unknown> {
    return await read(extra as Written, body, this.#settings.serializer)
  }

  async set(
    key: string,
    value: unknown,
    keeping: Keeping,
    tenant: string | undefined,
  ): Promise<void> {
    const place = this.place(key, tenant)
    const [wrote, origin] = await Promise.all([
      write(value, this.#settings.packFrom, this.#settings.serializer),
      this.#origin(key, place, keeping),
    ])
    const { leases, store } = this.#shelf
    const tags = [...this.#own(key), ...keeping.tags]
    const entry = made(this.name(key), wrote, { ...keeping, tags }, origin, store.now(), 0)
    const args = [
      encodeEntry(entry),
      entryTtl(entry),
      leases.channel,
      leases.message(place.lease, 'passed'),
    ]
    await store.run(writeEntry, [place.entry, place.lease], args)
  }

  /** Where the record stands as a value is written; other processes forget what they hold of it. */
  async #origin(key: string, { ledger }: EntryKeys, { ttl }: Keeping): Promise<LogPosition> {
    const renewed = ledger.isDue(ttl) ? await ledger.open(ttl) : undefined
    const own = this.#own(key)
    if (own.length > 0) return await ledger.invalidate(own, 'hard')
    if (renewed) return renewed
    const { nonce, sequence } = await ledger.read([])
    return nonce === undefined ? await ledger.open(ttl) : { nonce, sequence }
  }

  async delete(key: string, tenant: string | undefined): Promise<boolean> {
    const place = this.place(key, tenant)
    const { leases, store } = this.#shelf
    const deleting = store.run(
      writeEntry,
      [place.entry, place.lease],
      ['', 0, leases.channel, leases.message(place.lease, 'passed')],
    )
    const own = this.#own(key)
    const [before] = await Promise.all([
      deleting,
      own.length > 0 && place.ledger.invalidate(own, 'hard'),
    ])
    return before === 1
  }

  /** The value, or what `load` gives. */
  async fetch<Value>(
    key: string,
    load: () => Promise<Value> | Value,
    loading: Loading<Value>,
    tenant: string | undefined,
  ): Promise<Value> {
    const place = this.place(key, tenant)
    const { flights, leases, store } = this.#shelf
    const token = leases.token(place.lease)
    let found: LookupResult | undefined
    try {
      // Also where it is loaded here already: if that was overtaken by a delete, the lease is free.
      found = await this.find(key, tenant, token, loading.lease)
    } catch (error) {
      this.#without(error)
    }
    const value = found && (await this.valueOf(found))
    if (value !== undefined) return value as Value
    const flight = flights.get(place.entry)
    if (found && isStale(found)) {
      if (found.lease === 'ours')
        void this.#load(key, load, loading, place, found, token).catch((error) =>
          this.#report(error),
        )
      if (found.lease === 'ours' || found.lease === 'theirs' || flight)
        return (await this.#read(found.entry!)) as Value
    }
    const mayJoin =
      flight && (found ? !flight.alone : flight.alone && flight.epoch === place.ledger.epoch)
    if (mayJoin && found?.lease !== 'ours') {
      const landed = await Promise.race([
        flight.landing,
        store.sleep(loading.wait, undefined, true).then(() => undefined),
      ])
      if (landed && (await this.#mayShare(landed, found, place)))
        return (await this.#read(landed)) as Value
      return await load()
    }
    if (found?.lease === 'theirs') {
      const later = await this.#elsewhere(key, tenant, token, loading)
      const value = later && (await this.valueOf(later))
      if (value !== undefined) return value as Value
      found = later ?? found
    }
    return await this.#load(key, load, loading, place, found, token)
  }

  /** Wait for another process; gives what there is then, or the lease. */
  async #elsewhere(
    key: string,
    tenant: string | undefined,
    token: string,
    { wait, lease: leaseMs }: Loading<never>,
  ): Promise<LookupResult | undefined> {
    const { leases } = this.#shelf
    const { lease } = this.place(key, tenant)
    const until = performance.now() + wait
    let found: LookupResult | undefined
    for (let pause = 25; performance.now() < until; pause = Math.min(pause * 2, 250)) {
      const left = until - performance.now()
      const outcome = await leases.wait(lease, Math.min(left, pause * (0.5 + Math.random())))
      try {
        found = await this.find(key, tenant, token, leaseMs)
      } catch (error) {
        this.#without(error)
        return found
      }
      if (outcome === 'filled' || found.lease === 'ours' || isFresh(found)) return found
    }
    return found
  }

  /** Load it, give it to those who wait, and keep it, if the lease is still ours by then. */
  async #load<Value>(
    key: string,
    load: () => Promise<Value> | Value,
    loading: Loading<Value>,
    place: EntryKeys,
    found: LookupResult | undefined,
    token: string,
  ): Promise<Value> {
    const { flights, store } = this.#shelf
    const flight = flights.begin(place.entry, place.ledger.epoch, found === undefined)
    const began = store.monotonic()
    try {
      const origin = found && (await this.#originOf(place, found))
      const value = await load()
      const tags = loading.tagsOf(value)
      if (value === undefined) {
        this.#give(place, found, token)
        flight.end()
        return value
      }
      const wrote = await write(value, this.#settings.packFrom, this.#settings.serializer)
      const keeping = { ...loading, tags: [...this.#own(key), ...tags] }
      const cost = Math.round(store.monotonic() - began)
      const from = origin ?? { nonce: '', sequence: 0 }
      const entry = made(this.name(key), wrote, keeping, from, store.now(), cost)
      flight.land(entry)
      if (origin && found?.lease === 'ours') {
        this.#keep(place, entry, token, flight)
      } else {
        this.#give(place, found, token)
        flight.end()
      }
      return value
    } catch (error) {
      this.#give(place, found, token)
      if (found && isSpare(found, store.now())) {
        flight.end()
        return (await this.#read(found.entry!)) as Value
      }
      flight.fail(error)
      flight.end()
      throw error
    }
  }

  #keep(place: EntryKeys, entry: CacheEntry, token: string, flight: Flight): void {
    this.#shelf
      .write(place, entry, { token, guarded: true })
      .catch((error: unknown) => this.#report(error))
      .finally(() => flight.end())
  }

  /** A lookup that was not answered may have taken the lease. */
  #give({ lease }: EntryKeys, found: LookupResult | undefined, token: string): void {
    if (!found || found.lease === 'ours') this.#shelf.leases.giveBack(lease, token)
  }

  async #originOf(
    { ledger }: EntryKeys,
    { snapshot }: LookupResult,
  ): Promise<LogPosition | undefined> {
    const { nonce, sequence } = snapshot
    if (nonce !== undefined) return { nonce, sequence }
    try {
      return await ledger.open(0)
    } catch (error) {
      this.#without(error)
      return undefined
    }
  }

  async #mayShare(
    entry: CacheEntry,
    found: LookupResult | undefined,
    place: EntryKeys,
  ): Promise<boolean> {
    try {
      return await mayShare(entry, found, place, this.#shelf.store.now())
    } catch (error) {
      this.#without(error)
      return false
    }
  }

  #without(error: unknown): void {
    if (!isUnavailable(error)) throw error
    const { reason, uncertain } = error
    this.#context.events.emit('unavailable', {
      feature: 'data',
      name: this.#settings.space,
      reason,
      uncertain,
      rule: 'open',
    })
  }

  #report(error: unknown): void {
    this.#context.events.emit('error', { feature: 'data', name: this.#settings.space, error })
  }
}
