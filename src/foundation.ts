/** What the features of an instance stand on: its options checked, its stores, keys and events. */
import {
  boolean,
  callback,
  check,
  either,
  isObject,
  nearest,
  whole,
  word,
  type Kind,
} from './check.ts'
import { systemClock } from './clock.ts'
import { duration, durations } from './duration.ts'
import { TurnpikeError } from './errors.ts'
import { Emitter } from './events.ts'
import type { Ground } from './features/ground.ts'
import { keySpace } from './store/keys.ts'
import { MemoryStore } from './store/memory.ts'
import { isClient, prefixOf, type RedisSource } from './store/redis.ts'
import { AREAS, Stores, type Area } from './store/stores.ts'
import type { TurnpikeOptions } from './turnpike.ts'

const areas = (expected: string, accepts: (value: unknown) => boolean): Kind => ({
  expected: `an object of ${expected} by area (${AREAS.join(', ')})`,
  accepts: (value) =>
    isObject(value) &&
    Object.entries(value).every(([area, each]) => AREAS.includes(area as Area) && accepts(each)),
  meant: (value) => {
    const odd = isObject(value)
      ? Object.keys(value).find((area) => !AREAS.includes(area as Area))
      : undefined
    return odd && nearest(odd, AREAS)
  },
})

const KINDS: Record<string, Kind> = {
  redis: {
    expected: "a URL, ioredis options, an ioredis client, or 'memory'",
    accepts: (value) => value !== null,
  },
  store: {
    expected: 'a store, like testStore()',
    accepts: (value) => isObject(value) && 'run' in value,
  },
  prefix: {
    expected: "up to 32 letters, digits, '_', '.', ':' or '-'",
    accepts: (value) => typeof value === 'string' && /^[\w.:-]{1,32}$/.test(value),
  },
  version: either(whole(0), { expected: 'a text', accepts: (value) => typeof value === 'string' }),
  tenant: callback,
  layout: word('prefix', 'databases'),
  databases: areas('database numbers', whole(0, 15_000).accepts),
  stores: areas('{ redis }', (value) => isObject(value) && 'redis' in value),
  reuse: boolean,
  deadline: durations,
  budget: durations,
  maxInFlight: whole(1),
  instances: whole(1),
  floorKeys: whole(1),
}

/** The ground of one instance. */
export interface Foundation<Native> {
  readonly events: Emitter
  readonly stores: Stores
  /** What a request may wait for Redis, in ms. */
  readonly budgetMs: number
  /** What a feature of this area stands on. */
  ground(area: Area): Ground<Native>
}

/**
 * Lays the ground for an instance.
 * @throws TP_OPTION, TP_NO_REDIS
 */
export function foundation<Native>(options: TurnpikeOptions<Native>): Foundation<Native> {
  const where = 'turnpike()'
  check(where, options, KINDS)
  const { redis, store, prefix = 'tp', version, tenant, reuse = false } = options
  const { layout = 'prefix', databases, stores: own = {} } = options
  const { deadline = 100, budget = 150, maxInFlight = 5000 } = options
  const { instances = 1, floorKeys: maxKeys = 50_000 } = options
  const events = new Emitter()
  const stores = new Stores({
    redis,
    store,
    databases,
    layout,
    stores: own,
    reuse,
    maxInFlight,
    events,
    deadline: duration(deadline, where, 'deadline'),
  })
  const clock = store ?? systemClock()
  const floor = {
    evicting: new MemoryStore({ clock, maxKeys }),
    refusing: new MemoryStore({ clock, maxKeys, whenFull: 'refuse' }),
  }
  const claim = claims(events)
  return {
    events,
    stores,
    budgetMs: duration(budget, where, 'budget'),
    ground: (area) => ({
      store: stores.for(area),
      keys: keySpace(`${outer(own[area]?.redis ?? redis, reuse)}${prefix}`, version),
      events,
      floor,
      instances,
      claim,
      tenant: tenant && named(tenant),
    }),
  }
}

/** The `keyPrefix` of the client that was handed in comes before ours; a reused client adds it itself. */
const outer = (redis: RedisSource | 'memory' | undefined, reuse: boolean): string =>
  redis === undefined || redis === 'memory' || (reuse && isClient(redis)) ? '' : prefixOf(redis)

/** The tenant of a request; one that is no text would let strangers share what belongs to nobody. */
const named =
  <Native>(tenant: (native: Native) => unknown) =>
  async (native: Native): Promise<string> => {
    const id = await tenant(native)
    if (typeof id === 'string') return id
    throw new TurnpikeError(
      'TP_KEY',
      'turnpike(): tenant gave no text for this request. Refuse requests of nobody before they come here.',
    )
  }

function claims(events: Emitter): Ground['claim'] {
  const derived = new Set<string>()
  return (name, given) => {
    if (given) return
    if (derived.has(name))
      events.warn(
        `Two rate limits are both ${name}, and so they share their counts: give each a name of its own.`,
      )
    derived.add(name)
  }
}
