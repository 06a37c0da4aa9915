/**
 * The seam between an instance and what it offers. Built-in features and extensions get the same
 * context; `turnpike/extension` makes it public. See docs/extensions.md.
 */
import { TurnpikeError } from './errors.ts'
import type { EventBus } from './events.ts'
import type { FrameworkKind } from './http/adapter.ts'
import type { Exchange, Feature } from './http/exchange.ts'
import type { Identity } from './http/identity.ts'
import type { NameClaim } from './name-claims.ts'
import type { ConnectionPurpose } from './store/client-options.ts'
import type { DedicatedConnection } from './store/dedicated-connection.ts'
import type { KeySpace } from './store/keys.ts'
import type { Store } from './store/store.ts'
import { quote } from './option-value.ts'
import { isBuiltInArea } from './store/areas.ts'
import { identifier, isFunction, isObject, optionError } from './validate.ts'

/** The entries of the package whose extensions have another name. */
const ENTRIES: Readonly<Record<string, string>> = { queue: 'jobs' }

/**
 * Where an instance keeps its contexts. A registry symbol: the ESM and the CommonJS copy of the
 * package recognise each other's instances. The number is the version of the seam.
 */
export const CONTEXT: unique symbol = Symbol.for('turnpike.context@1') as never

/** What an instance shares with one of its features or extensions. */
export interface ExtensionContext<Native = any, Middleware = any> {
  /** The name that the context was asked for by, for example `'cache'`. */
  readonly name: string
  /** The engine for this name's data: `stores` and `databases` of `turnpike()` choose it. Opened at first use. */
  readonly store: Store
  /** Builds this name's keys. Those of an extension begin with `<prefix>:<name>:`. */
  readonly keys: KeySpace
  /** Reports events to `tp.on()` and `node:diagnostics_channel`. */
  readonly events: EventBus
  /**
   * Bounded in-process engines for the time when Redis is away. When full, `evicting` drops its
   * oldest keys and `refusing` rejects new ones.
   */
  readonly fallback: { readonly evicting: Store; readonly refusing: Store }
  /** Number of processes that share the limits now. While Redis is away, each admits its part. */
  readonly instances: number
  /** Which kind of framework the instance serves. */
  readonly framework: FrameworkKind
  /** True if the application has tenants: every call must then name one. */
  readonly hasTenants: boolean
  /** Returns the request's exchange, always the same one. */
  exchange(native: Native): Exchange<Native>
  /** Returns who sends the request: user, session, API key. */
  identityOf(native: Native): Identity
  /**
   * Resolves with the request's tenant, or undefined if the application has none.
   * @throws TP_KEY if `tenant` of `turnpike()` returned no string
   */
  tenantOf(native: Native): Promise<string | undefined>
  /** Returns the same context with keys that belong to one tenant. */
  forTenant(tenant: string): ExtensionContext<Native, Middleware>
  /** Returns a middleware of the instance's framework that runs the feature. */
  mount(feature: Feature<Native, any>): Middleware
  /** Fires when the instance begins to close. Refuse new work then. */
  readonly closing: AbortSignal
  /**
   * Runs `close` when the instance is closed, before its connections end. The last registered runs
   * first.
   * @param close waits for work in progress, until its signal fires. Six seconds later `tp.close()`
   *   goes on without it
   * @param order `'last'`: runs after all that were registered without it, because their work may
   *   still need what is closed
   */
  onClose(close: (signal: AbortSignal) => Promise<void>, order?: 'last'): void
  /**
   * Opens a connection of the caller's own to this name's Redis, by the options of `turnpike()`: URL,
   * Sentinel, Cluster, TLS, credentials, database. For a library that brings its own commands.
   * @param purpose `'calls'`: a command fails at once while Redis is away. `'blocking'`: it waits, and
   *   is sent again after a lost connection
   * @returns undefined for the in-process engine
   * @throws TP_NO_IOREDIS if ioredis cannot be loaded
   */
  connect(purpose: ConnectionPurpose): Promise<DedicatedConnection | undefined>
  /**
   * Claims a name for something that keeps state under it. Things of one kind may share a name if
   * their settings are equal. Reports a shared name that the application did not choose.
   * @throws TP_OPTION if the name is taken with other settings, and an application chose it
   */
  claimName(claim: NameClaim): void
  /** Returns what `create` returned when it was first called for this part of the context. */
  once<Part>(part: string, create: () => Part): Part
}

/** What `turnpike()` returns, as extensions see it. */
export interface Instance<Native = any, Middleware = any> {
  readonly [CONTEXT]: (name: string) => ExtensionContext<Native, Middleware>
}

/**
 * Creates an extension, once for each instance and name.
 *
 * @param tp the instance that `turnpike()` returned
 * @param name names the extension in keys, events and the options `stores` and `databases`
 * @param create builds the extension's API over its context
 * @returns what `create` returned, also when called again
 * @throws TP_OPTION if `tp` is no instance, or the name is taken or cannot be part of keys
 * @example
 * const greetings = (tp: Instance) => extension(tp, 'greetings', ({ keys }) => ({
 *   keyOf: (name: string) => keys.key('greetings', keys.tag(name)),
 * }))
 */
export function extension<Native, Middleware, Api>(
  tp: Instance<Native, Middleware>,
  name: string,
  create: (context: ExtensionContext<Native, Middleware>) => Api,
): Api {
  const where = 'extension()'
  if (!identifier.accepts(name))
    throw optionError(where, 'name', name, identifier.expected, identifier.suggest?.(name))
  // Names are looked up in options: one that every object has would always be found.
  if (isBuiltInArea(name) || name === 'operations' || name in Object.prototype)
    throw optionError(where, 'name', name, 'a name that nothing else has')
  if (!isFunction(create)) throw optionError(where, 'create', create, 'a function')
  const contextFor = (isObject(tp) || isFunction(tp) ? tp : {})[CONTEXT as never] as
    | Instance<Native, Middleware>[typeof CONTEXT]
    | undefined
  if (contextFor === undefined) {
    throw new TurnpikeError(
      'TP_OPTION',
      `turnpike/${ENTRIES[name] ?? name}: the first argument must be an instance that turnpike() returned. It is ${quote('tp', tp)}. Both must come from the same major version of the package.`,
    )
  }
  const context = contextFor(name)
  return context.once('extension', () => create(context))
}

export { durationOption, durationValidator, parseDuration, type Duration } from './duration.ts'
export { isUnavailable, TurnpikeError, type ErrorCode, type ErrorDetails } from './errors.ts'
export type { EventBus, EventMap, EventName, TurnpikeListener } from './events.ts'
export { passThrough } from './http/exchange.ts'
export type {
  BodyCapture,
  Exchange,
  Feature,
  HeaderFields,
  Plan,
  Reply,
  ResponseEnd,
  SentHead,
  SentResponse,
} from './http/exchange.ts'
export type { Identity } from './http/identity.ts'
export { problemReply, type ProblemDetails } from './http/problem.ts'
export type { RequestBudget } from './request-budget.ts'
export type { ConnectionPurpose } from './store/client-options.ts'
export type { DedicatedConnection } from './store/dedicated-connection.ts'
export type { KeySpace, Subject } from './store/keys.ts'
export type { IoredisClient } from './store/redis.ts'
export { operation } from './store/store.ts'
export type {
  MemoryDatabase,
  MemoryTwin,
  Operation,
  OperationArgument,
  OperationOptions,
  OperationReply,
  Store,
  StoreStatus,
} from './store/store.ts'
export { requireTenant, subjectTag, type KeyValue } from './store/subject.ts'
export {
  anyOf,
  boolean,
  callback,
  identifier,
  integer,
  nonEmptyString,
  oneOf,
  optionError,
  plainObject,
  validateOptions,
  type Validator,
} from './validate.ts'
