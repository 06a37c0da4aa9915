/** What an instance consists of: validated options, stores, keys, events and one context for each feature. */
import { setMaxListeners } from 'node:events'
import {
  anyString,
  boolean,
  callback,
  validateOptions,
  anyOf,
  isFunction,
  isObject,
  closestMatch,
  identifier,
  integer,
  oneOf,
  optionRuleError,
  type Validator,
} from './validate.ts'
import { startLog } from './activity-log.ts'
import { systemClock } from './clock.ts'
import { runClosers, type Closer } from './closers.ts'
import { durationOption, durationValidator } from './duration.ts'
import { EventBus } from './events.ts'
import type { ExtensionContext } from './extension.ts'
import type { FrameworkAdapter } from './http/adapter.ts'
import { hostTenant, tenantOf } from './http/tenant.ts'
import { NameClaims } from './name-claims.ts'
import type { ActiveRules } from './control/active-rules.ts'
import type { ControlApi } from './operations/control/options.ts'
import { createOperations, type OperationsApi } from './operations/index.ts'
import { operationsValidator } from './operations/options.ts'
import { createKeySpace, type KeySpace } from './store/keys.ts'
import { MemoryStore } from './store/memory.ts'
import { isClient, prefixOf, type RedisSource } from './store/redis.ts'
import { AREAS, isBuiltInArea } from './store/areas.ts'
import { Stores } from './store/stores.ts'
import type { AdapterFactory, TurnpikeOptions } from './turnpike.ts'
import type { Store } from './store/store.ts'

/** Options by area. Extensions add names of their own, but a near miss of a known name is a typing error. */
const byArea = (expected: string, accepts: (value: unknown) => boolean): Validator => {
  const misspelled = (area: string): string | undefined =>
    AREAS.includes(area) ? undefined : closestMatch(area, AREAS)
  return {
    expected: `an object of ${expected} by area (${AREAS.join(', ')}, or the name of an extension)`,
    accepts: (value) =>
      isObject(value) &&
      Object.entries(value).every(
        ([area, each]) =>
          identifier.accepts(area) && misspelled(area) === undefined && accepts(each),
      ),
    suggest: (value) =>
      isObject(value) ? Object.keys(value).map(misspelled).find(Boolean) : undefined,
  }
}

const OPTIONS: Record<string, Validator> = {
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
  version: anyOf(integer(0), anyString),
  tenant: anyOf(oneOf('host'), callback),
  layout: oneOf('prefix', 'databases'),
  databases: byArea('database numbers', integer(0, 15_000).accepts),
  stores: byArea('{ redis }', (value) => isObject(value) && 'redis' in value),
  reuse: boolean,
  refusals: oneOf('reply', 'next'),
  logger: {
    expected: 'false, or a logger with the method warn, like console',
    accepts: (value) => value === false || (isObject(value) && isFunction(value['warn'])),
  },
  operations: operationsValidator,
  commandTimeout: durationValidator,
  requestBudget: durationValidator,
  maxInFlight: integer(1),
  instances: anyOf(integer(1), oneOf('auto')),
  fallbackMaxKeys: integer(1),
}

/** The parts of one instance. */
export interface InstanceContext<Native, Middleware> {
  readonly events: EventBus
  readonly stores: Stores
  readonly adapter: FrameworkAdapter<Native, Middleware>
  /** Returns the context of a feature or extension, one for each name. */
  contextFor(name: string): ExtensionContext<Native, Middleware>
  /** The methods of `tp` about its processes. */
  readonly operations: OperationsApi & ControlApi<Native, Middleware>
  readonly rules: ActiveRules
  /**
   * Closes what contexts registered, then the connections.
   * @param drainMs time that work in progress may take
   */
  close(drainMs: number): Promise<void>
}

/**
 * Validates the options and creates the parts of an instance. No connection is opened yet.
 * @throws TP_OPTION, TP_NO_REDIS
 */
export function createInstanceContext<Native, Middleware>(
  framework: AdapterFactory<Native, Middleware>,
  options: TurnpikeOptions<Native>,
): InstanceContext<Native, Middleware> {
  const where = 'turnpike()'
  validateOptions(where, options, OPTIONS)
  validateInstances(options)
  const { redis, store, prefix = 'tp', version, tenant, reuse = false, refusals } = options
  const { layout = 'prefix', databases, stores: own = {} } = options
  const { commandTimeout = 100, requestBudget = 150, maxInFlight = 5000 } = options
  const { instances = 1, fallbackMaxKeys: maxKeys = 50_000, logger, operations } = options
  const events = new EventBus()
  const clock = store ?? systemClock()
  const endLog = startLog(events, logger, clock, store !== undefined)
  const stores = new Stores({
    redis,
    store,
    databases,
    layout,
    stores: own,
    reuse,
    maxInFlight,
    events,
    commandTimeout: durationOption(commandTimeout, where, 'commandTimeout'),
  })
  const isReported = operations ?? !stores.isInProcess('operations')
  const adapter = framework({
    budgetMs: durationOption(requestBudget, where, 'requestBudget'),
    waits: events.counts.durations('storeWait', 'request'),
    warn: (message) => events.warn(message),
    refusals,
  })
  const shared: Shared<Native, Middleware> = {
    stores,
    events,
    adapter,
    instances: instances === 'auto' ? 1 : instances,
    tenant,
    fallback: {
      evicting: new MemoryStore({ clock, maxKeys }),
      refusing: new MemoryStore({ clock, maxKeys, whenFull: 'refuse' }),
    },
    closers: [],
    closing: new AbortController(),
    claims: new NameClaims(events),
    keysOf: (name) => {
      const start = `${outerPrefix(own[name]?.redis ?? redis, reuse)}${prefix}`
      const extension = isBuiltInArea(name) ? undefined : name
      const part = name === 'operations' ? undefined : version
      return createKeySpace(start, part, extension, tenant === 'host' ? hostTenant : undefined)
    },
  }
  // Everything that sleeps listens to it. Node would warn of the eleventh listener.
  setMaxListeners(0, shared.closing.signal)
  // Connect at start: mistakes in the configuration are reported before the first request.
  stores.for('rateLimit')
  const contexts = new Map<string, ExtensionContext<Native, Middleware>>()
  const contextFor = (name: string): ExtensionContext<Native, Middleware> => {
    const context = contexts.get(name) ?? createContext(shared, name)
    contexts.set(name, context)
    return context
  }
  const { api, rules } = createOperations(contextFor('operations'), {
    options: isReported,
    clock,
    version,
    status: () => stores.status(),
    onLive(count) {
      if (instances === 'auto') shared.instances = Math.max(1, count)
    },
  })
  // One for all calls: a second one must not close the stores under the first.
  let closing: Promise<void> | undefined
  return {
    events,
    stores,
    adapter,
    contextFor,
    operations: api,
    rules,
    close: (drainMs) => (closing ??= closeAll(shared, drainMs).finally(endLog)),
  }
}

/** Throws if `instances` cannot be known. @throws TP_OPTION */
function validateInstances({ instances, operations }: TurnpikeOptions<never>): void {
  if (instances !== 'auto' || operations !== false) return
  throw optionRuleError(
    'turnpike()',
    'instances',
    instances,
    "`instances: 'auto'` needs the reports of all processes. Leave out `operations: false`, or pass a number.",
  )
}

/** Closes what contexts registered, and then the stores. */
async function closeAll(
  { closers, closing, events, stores }: Shared<any, any>,
  drainMs: number,
): Promise<void> {
  closing.abort()
  await runClosers(closers.splice(0), drainMs, (name, error) =>
    events.emit('error', { feature: name, name: 'close', error }),
  )
  // The fallback stays open: requests in progress are limited to the end.
  await Promise.all(stores.all().map((each) => each.close()))
}

/** What all contexts of an instance share. */
interface Shared<Native, Middleware> {
  readonly stores: Stores
  readonly events: EventBus
  readonly adapter: FrameworkAdapter<Native, Middleware>
  instances: number
  readonly tenant: TurnpikeOptions<Native>['tenant']
  readonly fallback: { readonly evicting: Store; readonly refusing: Store }
  readonly closers: Closer[]
  readonly closing: AbortController
  readonly claims: NameClaims
  keysOf(name: string): KeySpace
}

/**
 * Creates the context of a feature or extension. Its methods use no `this`, so that an extension may
 * take them out of it.
 * @param own the keys of one tenant
 */
function createContext<Native, Middleware>(
  shared: Shared<Native, Middleware>,
  name: string,
  own?: KeySpace,
): ExtensionContext<Native, Middleware> {
  const { adapter, closers, closing, events, fallback, stores, tenant } = shared
  const keys = own ?? shared.keysOf(name)
  // Tenants have keys of their own, so one name may have other settings for each.
  const claims = own === undefined ? shared.claims : new NameClaims(events)
  const hasTenants = tenant !== undefined && own === undefined
  const parts = new Map<string, unknown>()
  let store: Store | undefined
  return {
    name,
    get store() {
      return (store ??= stores.for(name))
    },
    keys,
    events,
    fallback,
    get instances() {
      return shared.instances
    },
    hasTenants,
    framework: adapter.framework,
    exchange: (native) => adapter.exchange(native),
    identityOf: (native) => adapter.exchange(native).identity,
    tenantOf: async (native) =>
      hasTenants ? await tenantOf(adapter.exchange(native), tenant) : undefined,
    forTenant: (id) =>
      createContext(shared, name, {
        ...keys,
        tag: (subject, _tenant, isShown) => keys.tag(subject, id, isShown),
      }),
    mount: (feature) => adapter.mount(feature),
    closing: closing.signal,
    onClose: (close, order) => void closers.push({ name, close, isLast: order === 'last' }),
    connect: (purpose) => stores.connect(name, purpose),
    claimName: (claim) => claims.claim(claim),
    once<Part>(part: string, create: () => Part): Part {
      if (!parts.has(part)) parts.set(part, create())
      return parts.get(part) as Part
    },
  }
}

/** The `keyPrefix` of a client that was passed comes before ours. A reused client adds it itself. */
const outerPrefix = (redis: RedisSource | 'memory' | undefined, reuse: boolean): string =>
  redis === undefined || redis === 'memory' || (reuse && isClient(redis)) ? '' : prefixOf(redis)
