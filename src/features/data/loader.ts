/** Loading values once for all callers. */
import type { CacheEntry } from '../../caching/entry.ts'
import type { LookupResult, EntryKeys } from '../../caching/entry-keys.ts'
import { decideFill, type Fill, type FillDecision } from '../../caching/fill.ts'
import { fillContext, isWithinFill, runFill } from '../../caching/fill-context.ts'
import { releaseLease, takeTurn } from '../../caching/fill-turn.ts'
import type { LogPosition } from '../../caching/invalidation-log.ts'
import { RefreshBackoff } from '../../caching/refresh-backoff.ts'
import { entryState } from '../../caching/validity.ts'
import { TurnpikeError } from '../../errors.ts'
import { carryOverOwnRequests } from '../../http/own-requests.ts'
import type { DataLookup } from './data-lookup.ts'
import type { DataEngine, Lifetime } from './engine.ts'
import { decodeValue, NO_VALUE } from './value.ts'

/** A call for one value. Times in ms. */
export interface LoadCall<Value> {
  readonly key: string
  readonly tenant: string | undefined
  readonly waitMs: number
  readonly leaseMs: number
  load(): Promise<Value> | Value
  /** @throws TP_VALUE, TP_OPTION for what a function of the value returned */
  lifetimeOf(value: Value): Lifetime
}

const NOT_STORED: Lifetime = { ttl: 0, tags: [], staleFor: 0, errorFor: 0 }
const NOWHERE: LogPosition = { nonce: '', sequence: 0 }

/** Loads the values of one namespace. */
export class DataLoader {
  readonly #engine: DataEngine
  readonly #backoff = new RefreshBackoff()

  constructor(engine: DataEngine) {
    this.#engine = engine
  }

  /**
   * Returns the value, or loads it once for all callers.
   * @throws what `load` throws; TP_VALUE if it asks for its own value, or its value cannot be stored
   */
  async fetch<Value>(call: LoadCall<Value>): Promise<Value> {
    const { key, tenant, waitMs, leaseMs } = call
    const engine = this.#engine
    const { cacheStore } = engine
    const lookup = engine.lookup(key, tenant, waitMs, leaseMs)
    if (isWithinFill(cacheStore.store, lookup.keys.entry)) {
      const message = `tp.data: the loader of '${engine.nameOf(key)}' asks for its own value. It would wait for itself.`
      throw new TurnpikeError('TP_VALUE', message)
    }
    const found = await lookup.lookupAgain()
    const value = found && (await engine.valueOf(found))
    if (value !== undefined) {
      engine.count(found!.near ? 'near' : 'hit')
      return value as Value
    }
    const old = found && (await this.#oldValue(found))
    if (found && old !== undefined) {
      const decision = this.#decide(lookup, found)
      if (decision === 'serve') releaseLease(cacheStore, lookup)
      if (decision === 'refresh') void this.#refresh(call, lookup, found)
      if (decision === 'serve' || decision === 'refresh') {
        engine.count('stale')
        return old as Value
      }
    }
    try {
      const { value: loaded, isShared } = await this.#takeTurn(call, lookup, found)
      engine.count(isShared ? 'collapsed' : 'miss')
      return loaded
    } catch (error) {
      const isOldUsable = found && old !== undefined && this.#isOld(found)
      if (!isOldUsable || isMisuse(error)) throw error
      engine.count('stale')
      return old as Value
    }
  }

  #decide(lookup: DataLookup, found: LookupResult): FillDecision {
    const { singleFlight, store } = this.#engine.cacheStore
    const { entry } = lookup.keys
    return decideFill({
      entry: entryState(found),
      lease: found.lease,
      hasFlight: singleFlight.get(entry) !== undefined,
      mayWait: lookup.mayWait(),
      backsOff: this.#backoff.isActive(entry, store.monotonic()),
    })
  }

  /** Returns whether a value is no longer fresh, and may still be used. */
  #isOld(found: LookupResult): boolean {
    const state = entryState({ ...found, now: this.#engine.cacheStore.store.now() })
    return state === 'stale' || state === 'error-only'
  }

  async #oldValue(found: LookupResult): Promise<unknown> {
    return this.#isOld(found) ? await this.#engine.valueIn(found.entry!) : undefined
  }

  async #refresh<Value>(
    call: LoadCall<Value>,
    lookup: DataLookup,
    found: LookupResult,
  ): Promise<void> {
    try {
      await this.#takeTurn(call, lookup, found)
    } catch (error) {
      this.#engine.report(error)
    }
  }

  /** Waits for another caller that loads the value, or loads it. */
  async #takeTurn<Value>(
    call: LoadCall<Value>,
    lookup: DataLookup,
    found: LookupResult | undefined,
  ): Promise<{ value: Value; isShared: boolean }> {
    const turn = await takeTurn(this.#engine.cacheStore, lookup, found)
    return 'shared' in turn
      ? { value: (await this.#engine.valueIn(turn.shared.entry)) as Value, isShared: true }
      : { value: await this.#load(call, turn.fill, turn.found), isShared: false }
  }

  /**
   * Loads the value, passes it to the waiters, and stores it if the lease is still held. Returns what
   * a later call will read, not what the loader returned: the caller cannot tell a miss from a hit.
   */
  async #load<Value>(
    { key, load, lifetimeOf }: LoadCall<Value>,
    fill: Fill,
    found: LookupResult | undefined,
  ): Promise<Value> {
    const { store } = this.#engine.cacheStore
    const { keys } = fill
    const began = store.monotonic()
    try {
      const position = found && (await this.#positionOf(keys, found))
      const value = await runFill(fill, load)
      const stored = value === undefined ? NO_VALUE : await this.#engine.encode(value)
      const lifetime = value === undefined ? NOT_STORED : lifetimeOf(value)
      const cost = Math.round(store.monotonic() - began)
      const entry = this.#engine.createEntry(key, stored, lifetime, position ?? NOWHERE, cost)
      const isStored = position !== undefined && fill.hasLease && lifetime.ttl > 0
      fill.complete(entry, isStored ? (token) => this.#save(keys, entry, token) : undefined)
      this.#backoff.succeed(keys.entry)
      const { form, whole } = stored
      return (await decodeValue(
        { ...form, isPacked: false },
        whole,
        this.#engine.settings.serializer,
      )) as Value
    } catch (error) {
      fill.fail(error)
      this.#backoff.fail(keys.entry, store.monotonic())
      throw error
    }
  }

  async #save(keys: EntryKeys, entry: CacheEntry, token: string): Promise<void> {
    try {
      await this.#engine.cacheStore.write(keys, entry, { token, guarded: true })
    } catch (error) {
      this.#engine.report(error)
    }
  }

  /** Returns the log's position before a load. Undefined: the store is unavailable. */
  async #positionOf(
    { log }: EntryKeys,
    { snapshot }: LookupResult,
  ): Promise<LogPosition | undefined> {
    const { nonce, sequence } = snapshot
    if (nonce !== undefined) return { nonce, sequence }
    try {
      return await log.open(0)
    } catch (error) {
      this.#engine.reportUnavailable(error)
      return undefined
    }
  }
}

/** Returns whether an error is the program's own. A stale value must not hide it. */
const isMisuse = (error: unknown): boolean =>
  ['TP_OPTION', 'TP_VALUE'].includes(String((error as Partial<TurnpikeError> | null)?.code))

/** Creates the loader. A value may be requested from this process's own server while it is loaded. */
export function createLoader(engine: DataEngine): DataLoader {
  carryOverOwnRequests(fillContext)
  return new DataLoader(engine)
}
