/**
 * Copies of sessions that this process has loaded a moment ago. A read of one needs no round trip. A
 * copy is served for at most the time that the mount allows, even if every message is lost.
 */
import { randomBytes } from 'node:crypto'
import { BoundedMap } from '../../caching/bounded-map.ts'
import { momentOf, type Moment } from '../../clock.ts'
import { isUnavailable } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { LoadedSession } from './session-storage.ts'
import type { NearSettings } from './near-options.ts'
import { announce, sessionTimeToLive } from './operations/announce.ts'
import type { StoredSession } from './record.ts'
import type { SessionChanges } from './session-changes.ts'
import type { SessionKeys } from './session-id.ts'

interface NearCopy {
  readonly keys: SessionKeyNames
  stored: StoredSession
  readonly bytes: number
  /** Until when it is served. */
  readonly until: Moment
}

/** When a session expires in Redis, as long as it is neither saved nor renewed. */
interface Lifetime {
  readonly version: string
  readonly touched: number
  readonly end: Moment
}

/** The names under which changes are announced. They contain a hash of the session's ID, not the ID. */
type SessionKeyNames = Pick<SessionKeys, 'session' | 'index'>

/** Loads in progress of one session. */
interface Loading {
  readonly keys: SessionKeyNames
  count: number
  /** True if the session has changed since one of them began. What they find is not kept. */
  isStale: boolean
  /** When a request has renewed the session meanwhile. */
  touched: number | undefined
}

/** What a copy takes besides its data, in bytes. With `maxBytes` it bounds the number of copies. */
const OVERHEAD = 1_024
/** Sessions of which a process remembers when they expire. */
const MAX_LIFETIMES = 50_000
/** How soon an announcement of this process must arrive, in ms, before it is repeated. */
const ANNOUNCEMENT_TIMEOUT = 1_000
/** Precedes the ID of an announcement. No key begins with it. */
const ANNOUNCEMENT = '?'

/** The copies of one mount. */
export class NearSessions {
  readonly #context: ExtensionContext
  readonly #settings: NearSettings
  readonly #changes: SessionChanges
  /** The oldest first. */
  readonly #copies = new Map<string, NearCopy>()
  /** Keys of the copies of one user's sessions, by the key of the user's index. */
  readonly #byIndex = new Map<string, Set<string>>()
  readonly #loads = new Map<string, Loading>()
  #lifetimes = new BoundedMap<Lifetime>(MAX_LIFETIMES)
  #bytes = 0
  /** True while this process receives what is published: it has received an announcement of its own. */
  #isArmed = false
  #awaited: { readonly message: string; readonly at: number } | undefined
  #unsubscribe: (() => void) | undefined
  #isClosed = false

  constructor(context: ExtensionContext, changes: SessionChanges, settings: NearSettings) {
    this.#context = context
    this.#settings = settings
    this.#changes = changes
    changes.add(this)
    context.onClose(() => Promise.resolve(this.close()))
  }

  /** Returns the copy of a session, if it may still be served. */
  find({ session }: SessionKeys): StoredSession | undefined {
    const copy = this.#copies.get(session)
    if (copy === undefined) return undefined
    if (this.#isAhead(copy.until)) return copy.stored
    this.#remove(copy)
    return undefined
  }

  /** Loads a session by `load`, and keeps a copy unless the session changes meanwhile. */
  load(
    keys: SessionKeys,
    load: () => Promise<LoadedSession | undefined>,
  ): Promise<LoadedSession | undefined> {
    if (!this.#isArmed) this.#arm(keys)
    if (!this.#isArmed) return load()
    const loading = this.#begin(keys)
    // A copy is as old as the request for it: the reply may have been on its way for long.
    const since = momentOf(this.#context.store)
    return load().then(
      (found) => {
        this.#consider(keys, loading, found, since)
        return found
      },
      (error: unknown) => {
        this.#end(loading)
        throw error
      },
    )
  }

  /** Notes that the time to live of a session was renewed. Otherwise each request would renew it. */
  renewed({ session }: SessionKeys, touched: number): void {
    const copy = this.#copies.get(session)
    if (copy) copy.stored = { ...copy.stored, touched }
    const loading = this.#loads.get(session)
    if (loading) loading.touched = touched
  }

  /** Drops the copy of a session that has changed, or of all sessions of an index. @param key of either */
  drop(key: string): void {
    const loading = this.#loads.get(key)
    if (loading) this.#outdate(loading)
    const copy = this.#copies.get(key)
    if (copy) this.#remove(copy)
    this.#lifetimes.delete(key)
    if (!key.endsWith('}')) return
    for (const each of this.#loads.values()) if (each.keys.index === key) this.#outdate(each)
    for (const each of this.#byIndex.get(key) ?? []) this.#remove(this.#copies.get(each)!)
  }

  /** Drops all copies, and keeps no others. */
  close(): void {
    this.#isClosed = true
    this.#unsubscribe?.()
    this.#disarm()
  }

  /** Subscribes, and finds out whether messages arrive. @param keys of any session: they only route the command */
  #arm({ session }: SessionKeys): void {
    if (this.#isClosed) return
    const { store, events } = this.#context
    const { channel } = this.#changes
    this.#unsubscribe ??= store.subscribe(
      channel,
      (message) => this.#receive(message),
      // Messages may be missed from now on.
      () => this.#disarm(),
    )
    const at = store.monotonic()
    if (this.#awaited && at - this.#awaited.at < ANNOUNCEMENT_TIMEOUT) return
    const message = ANNOUNCEMENT + randomBytes(9).toString('base64url')
    this.#awaited = { message, at }
    store.run(announce, [session], [channel, message]).catch((error: unknown) => {
      if (isUnavailable(error)) return
      events.warn(
        `tp.session({ near }): no session is read without Redis, because PUBLISH does not work: ${String(error)}. Permit it on the channels of the prefix, as docs/store.md says.`,
      )
    })
  }

  #receive(message: string): void {
    if (!message.startsWith(ANNOUNCEMENT)) return this.drop(this.#changes.keyOf(message))
    if (message !== this.#awaited?.message) return
    this.#awaited = undefined
    this.#isArmed = true
  }

  #disarm(): void {
    this.#isArmed = false
    this.#awaited = undefined
    this.#copies.clear()
    this.#byIndex.clear()
    this.#bytes = 0
    this.#lifetimes = new BoundedMap(MAX_LIFETIMES)
    for (const loading of this.#loads.values()) this.#outdate(loading)
  }

  #begin(keys: SessionKeys): Loading {
    const { session, index } = keys
    const known = this.#loads.get(session)
    const loading: Loading = known ?? {
      keys: { session, index },
      count: 0,
      isStale: false,
      touched: undefined,
    }
    if (known === undefined) this.#loads.set(session, loading)
    loading.count++
    return loading
  }

  #end(loading: Loading): void {
    loading.count--
    if (loading.count === 0 && !loading.isStale) this.#loads.delete(loading.keys.session)
  }

  /** A load that begins later finds the change. It is not stale. */
  #outdate(loading: Loading): void {
    loading.isStale = true
    this.#loads.delete(loading.keys.session)
  }

  /** Keeps what a load has found, once it is known how long the session lives. */
  #consider(
    keys: SessionKeys,
    loading: Loading,
    found: LoadedSession | undefined,
    since: Moment,
  ): void {
    // What connect-redis writes is not announced, and a replaced session depends on its successor.
    const isOwn = found?.keys === keys && found.stored.form === 'turnpike'
    if (!isOwn || found.stored.meta.successor || loading.isStale) return this.#end(loading)
    const { stored } = found
    const known = this.#lifetimes.get(keys.session)
    if (known?.version === stored.version && known.touched === stored.touched) {
      this.#keep(loading, stored, since, known.end)
      return this.#end(loading)
    }
    const { version, touched } = stored
    void this.#context.store
      .run(sessionTimeToLive, [keys.session], [])
      .then((left) => {
        if (loading.isStale || left <= 0) return
        const end = { monotonic: since.monotonic + left, wall: since.wall + left }
        this.#lifetimes.set(keys.session, { version, touched, end })
        this.#keep(loading, stored, since, end)
      })
      // Nothing is kept. The next load asks again.
      .catch(() => {})
      .finally(() => this.#end(loading))
  }

  /** @param end when the session itself expires */
  #keep({ keys: names, touched }: Loading, found: StoredSession, since: Moment, end: Moment): void {
    const stored = touched === undefined ? found : { ...found, touched }
    const { ms, maxBytes } = this.#settings
    const { data, meta } = stored
    const length = names.session.length + names.index.length + data.length
    const bytes = (length + (meta.user?.length ?? 0)) * 2 + OVERHEAD
    // One copy must not evict all others.
    if (bytes > maxBytes / 8) return
    const until = {
      monotonic: Math.min(since.monotonic + ms, end.monotonic),
      wall: Math.min(since.wall + ms, end.wall),
    }
    const known = this.#copies.get(names.session)
    if (known) this.#remove(known)
    this.#copies.set(names.session, { keys: names, stored, bytes, until })
    this.#bytes += bytes
    // Only sessions of users can be ended by their index.
    if (meta.user !== undefined) {
      const others = this.#byIndex.get(names.index)
      if (others) others.add(names.session)
      else this.#byIndex.set(names.index, new Set([names.session]))
    }
    this.#evict()
  }

  /** Removes copies that have expired, and the oldest ones until there is room. */
  #evict(): void {
    for (const copy of this.#copies.values()) {
      if (this.#isAhead(copy.until) && this.#bytes <= this.#settings.maxBytes) return
      this.#remove(copy)
    }
  }

  #isAhead({ monotonic, wall }: Moment): boolean {
    const { store } = this.#context
    return store.monotonic() < monotonic && store.wallClock() < wall
  }

  #remove({ keys: { session, index }, bytes }: NearCopy): void {
    if (!this.#copies.delete(session)) return
    this.#bytes -= bytes
    const others = this.#byIndex.get(index)
    if (others?.delete(session) && others.size === 0) this.#byIndex.delete(index)
  }
}
