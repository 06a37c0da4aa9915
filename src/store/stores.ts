/** Chooses the store of each area: one for all, one database each, or servers of their own. */
import { TurnpikeError } from '../errors.ts'
import type { EventBus } from '../events.ts'
import { optionError } from '../validate.ts'
import type { Area } from './areas.ts'
import type { ConnectionPurpose } from './client-options.ts'
import { openDedicatedConnection, type DedicatedConnection } from './dedicated-connection.ts'
import { isOutageRemedy } from './diagnose.ts'
import { MemoryStore } from './memory.ts'
import { isClient, isCluster, type RedisSource } from './redis.ts'
import { validateSource } from './redis-source.ts'
import { RedisStore } from './redis-store.ts'
import type { Store, StoreStatus } from './store.ts'

/** Database of each area with `layout: 'databases'`. Others use database 0. */
const DATABASES: Record<string, number | undefined> = {
  session: 0,
  cache: 1,
  rateLimit: 2,
  realtime: 3,
  queue: 4,
  idempotency: 0,
  lock: 0,
}

/** Returns the database of an area with `layout: 'databases'`. */
export const databaseOf = (area: Area): number => DATABASES[area] ?? 0

export interface StoresOptions {
  redis: RedisSource | 'memory' | undefined
  store: Store | undefined
  databases: Readonly<Record<string, number | undefined>> | undefined
  layout: 'prefix' | 'databases'
  stores: Readonly<Record<string, { redis: RedisSource | 'memory' } | undefined>>
  reuse: boolean
  commandTimeout: number
  maxInFlight: number
  events: EventBus
}

/** Where the data of an area is. */
interface DataLocation {
  readonly name: string
  readonly source: RedisSource | 'memory'
  readonly db: number | undefined
  /** True if the area has a server of its own. */
  readonly isOwn: boolean
}

/** The stores of one instance. Each is opened when an area first needs it. */
export class Stores {
  readonly #options: StoresOptions
  readonly #source: RedisSource | 'memory'
  readonly #opened = new Map<string, Store>()

  /** @throws TP_NO_REDIS in production without Redis; TP_OPTION for databases on a Cluster */
  constructor(options: StoresOptions) {
    this.#options = options
    this.#source = options.store ? 'memory' : (options.redis ?? defaultSource(options.events))
    const { layout, databases, reuse, stores } = options
    const source = this.#source
    if (source !== 'memory') validateSource('redis', source, reuse)
    for (const [area, own] of Object.entries(stores)) {
      if (own !== undefined && own.redis !== 'memory')
        validateSource(`stores.${area}.redis`, own.redis, reuse)
    }
    if (layout === 'prefix' && !databases) return
    if (source !== 'memory' && isCluster(source)) {
      throw optionError(
        'turnpike()',
        'databases',
        databases ?? layout,
        "omitted on a Cluster, which has only database 0 (use layout: 'prefix')",
      )
    }
    if (reuse)
      throw optionError(
        'turnpike()',
        'reuse',
        true,
        'omitted with databases, which need a connection each',
      )
  }

  /** Returns the store of an area. Opens it at the first call. */
  for(area: Area): Store {
    const { store } = this.#options
    if (store) return store
    const { name, source, db, isOwn } = this.#locate(area)
    return this.#open(name, source, db, !isOwn || area !== 'cache')
  }

  /**
   * Opens a connection of the caller's own to the Redis of an area. Undefined for the in-process engine.
   * @throws TP_NO_IOREDIS, TP_OPTION
   */
  async connect(area: Area, purpose: ConnectionPurpose): Promise<DedicatedConnection | undefined> {
    const { commandTimeout, events, reuse, store } = this.#options
    const { source, db } = this.#locate(area)
    if (store || source === 'memory') return undefined
    const warn = (message: string): void => {
      if (!isOutageRemedy(message)) events.warn(message)
    }
    return openDedicatedConnection({ source, db, reuse, commandTimeout, purpose, warn })
  }

  /** Returns where the data of an area is. */
  #locate(area: Area): DataLocation {
    const { stores, layout, databases } = this.#options
    const own = stores[area]?.redis
    if (own !== undefined) return { name: area, source: own, db: undefined, isOwn: true }
    const source = this.#source
    if (layout === 'prefix' && !databases)
      return { name: 'redis', source, db: undefined, isOwn: false }
    const db = databases?.[area] ?? databaseOf(area)
    return { name: `database ${db}`, source, db, isOwn: false }
  }

  /** Returns true if an area is kept in this process. Opens nothing. */
  isInProcess(area: Area): boolean {
    const { store, stores } = this.#options
    return store ? store.kind === 'memory' : (stores[area]?.redis ?? this.#source) === 'memory'
  }

  /** Returns the open stores. Opens the default one if there is none. */
  all(): Store[] {
    return this.#opened.size > 0 ? [...this.#opened.values()] : [this.for('rateLimit')]
  }

  /** Returns the open stores by name. */
  byName(): ReadonlyMap<string, Store> {
    if (this.#opened.size === 0) this.for('rateLimit')
    return this.#opened
  }

  /** Returns the status of the store in the worst state, with the warnings of all. */
  status(): StoreStatus {
    const severity = { ok: 0, degraded: 1, down: 2 }
    const all = this.all()
      .map((store) => store.status())
      .toSorted((a, b) => severity[b.status] - severity[a.status])
    return { ...all[0]!, warnings: [...new Set(all.flatMap(({ warnings }) => warnings))] }
  }

  #open(
    name: string,
    source: RedisSource | 'memory',
    db: number | undefined,
    lasting: boolean,
  ): Store {
    const known = this.#opened.get(name)
    if (known) return known
    const { reuse, commandTimeout, maxInFlight, events } = this.#options
    const store =
      source === 'memory'
        ? new MemoryStore({ maxKeys: 250_000 })
        : new RedisStore({
            source,
            name,
            db,
            reuse: reuse && isClient(source),
            commandTimeout,
            maxInFlight,
            events,
            lasting,
          })
    this.#opened.set(name, store)
    return store
  }
}

/** Returns where Redis is if the options do not say it. @throws TP_NO_REDIS in production */
function defaultSource(events: EventBus): RedisSource | 'memory' {
  const url = process.env['REDIS_URL']
  if (url) return url
  if (process.env['NODE_ENV'] === 'production') {
    throw new TurnpikeError(
      'TP_NO_REDIS',
      "turnpike(): no Redis is configured. Set REDIS_URL or the option redis. If this process is meant to run without Redis, pass redis: 'memory'.",
    )
  }
  events.warn(
    "turnpike keeps its data in this process. Set REDIS_URL or the option redis to share it with other processes, or pass redis: 'memory' if this is meant.",
  )
  return 'memory'
}
