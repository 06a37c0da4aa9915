import { channel, type Channel } from 'node:diagnostics_channel'
import { DebugOutput } from './debug-output.ts'
import { DistinctWarnings } from './distinct-warnings.ts'
import type {
  BanEvent,
  CacheEvent,
  ControlEvent,
  FillEvent,
  IdempotencyEvent,
  ServiceEvent,
  SessionEvent,
  SlowEvent,
  TokenEvent,
} from './event-types.ts'
import { FeatureCounts } from './feature-counts.ts'
import { closestMatch } from './validate.ts'

declare global {
  namespace TurnpikeExtensions {
    /**
     * Events of extensions, by name. A global, because an ESM and a CommonJS copy of the package
     * have declarations of their own.
     * @example
     * declare global {
     *   namespace TurnpikeExtensions {
     *     interface Events {
     *       maintenance: { type: 'closed' | 'opened' }
     *     }
     *   }
     * }
     */
    interface Events {}
  }
}

/** What `tp.on` reports. No event carries a credential, a cookie or a command's arguments. */
export interface EventMap extends TurnpikeExtensions.Events {
  /** A rate limit or login guard decided on a request or call. */
  decision: {
    feature: 'rateLimit' | 'loginGuard' | 'limiter'
    /** The mount's name. */
    name: string
    allowed: boolean
    /** True if a shadow limit let a request pass that it would otherwise have refused. */
    shadow: boolean
    /**
     * What decided: `store` (Redis, or the in-process engine if there is no Redis), `local` (the
     * in-process fallback while Redis is away), the deny cache, or the failure rule
     * (`open`, `closed`). Not counted: `unlimited` (every limit is Infinity), `rule` (`tp.control`).
     */
    source: 'store' | 'local' | 'lease' | 'deny-cache' | 'open' | 'closed' | 'unlimited' | 'rule'
    /** The policy that refused, or the tightest one. */
    policy: string | undefined
    limit: number | undefined
    remaining: number | undefined
    /** Milliseconds until the same cost would be admitted: 0 if allowed, undefined if never. */
    retryAfterMs: number | undefined
    /** The subject, as `limiter.peek()`, `reset()` and `block()` take it. A long string is shown as its digest. */
    subject: string | readonly string[]
    /** The tenant, in an application that has tenants. */
    tenant: string | undefined
    /** How long the decision took, in ms. Undefined if it did not wait for a store. */
    ms: number | undefined
  }
  /** A session was created for a user, ended, or could not be stored or read as it was. */
  session: SessionEvent
  /** A lock or permit was acquired, refused or lost. */
  lock: {
    feature: 'lock' | 'semaphore'
    name: string
    type: 'acquired' | 'refused' | 'lost'
    /** The name, escaped as in its key. */
    subject: string
    /** The fencing token of a lock that is or was held. */
    token: number | undefined
    /** Milliseconds that the caller waited. */
    waitedMs: number
  }
  /** What happened to a request with an idempotency key. */
  idempotency: IdempotencyEvent
  /** The response cache handled a request. */
  cache: CacheEvent
  /** A handler has made a response that a cache was to store. */
  fill: FillEvent
  /** Something happened to a token of `turnpike/tokens`. No event carries the token itself. */
  token: TokenEvent
  /** This process has ended a session, those of a user, or an API key, by its handle, ID or digest. */
  revoked: { type: 'session' | 'user' | 'api-key'; subject: string; tenant: string | undefined }
  /** The rules of `tp.control` changed in this process. */
  control: ControlEvent
  /** `tp.ban()` banned a client, or would have. */
  ban: BanEvent
  /** A feature could not use the store and applied its failure rule. */
  unavailable: { feature: string; name: string; reason: string; uncertain: boolean; rule: string }
  /** The number of processes that report to Redis changed. `before` is undefined at the first report. */
  process: { live: number; before: number | undefined }
  /** The status of a service changed. It is emitted in the process that has found out. */
  service: ServiceEvent
  /** A circuit breaker opened or closed. On a Cluster each master has one: `node` is its address. */
  breaker: { store: string; state: 'open' | 'closed'; reason: string | undefined; node?: string }
  /** A connection that did not reply was replaced. */
  replaced: { store: string }
  /** Redis went away, or is back. */
  availability: {
    store: string
    type: 'away' | 'back'
    /** Why it is away. */
    reason: string | undefined
    /** How long it was away, in ms; 0 when it goes. */
    awayMs: number
  }
  /**
   * Redis answered a call after half of `commandTimeout` or later. At most one in ten seconds is
   * reported for each server.
   */
  slow: SlowEvent
  /** A write that no request waits for failed, for example a refund. */
  error: { feature: string; name: string; error: unknown }
  /** Something that an operator should fix. Each is reported once. */
  warning: { message: string }
}

/** Name of an event: those of the package, and those that extensions declare. */
export type EventName = keyof EventMap
/** A function that `tp.on()` calls with each event of one name. */
export type TurnpikeListener<Name extends EventName> = (event: EventMap[Name]) => void

/** Events of the package itself. */
export type BuiltInEventName = Exclude<EventName, keyof TurnpikeExtensions.Events>

/**
 * Every event of the package, with a sentence for documentation and tools. A name of `EventMap`
 * that is missing here does not compile.
 */
export const EVENTS: Readonly<Record<BuiltInEventName, string>> = {
  decision: 'A rate limit or login guard decided on a request or call.',
  session: 'A session was created for a user, ended, or could not be stored or read as it was.',
  lock: 'A lock or permit was acquired, refused or lost.',
  idempotency: 'What happened to a request with an idempotency key.',
  cache: 'The response cache handled a request.',
  fill: 'A handler has made a response that a cache was to store.',
  token: 'Something happened to a one-time token, a refresh token or an API key.',
  revoked: 'This process has ended sessions or an API key.',
  control: 'The rules of `tp.control` changed in this process.',
  ban: 'A ban refused a client from now on, or would have.',
  unavailable: 'A feature could not use the store and applied its failure rule.',
  process: 'The number of processes that report to Redis changed.',
  service: 'The status of a service of `tp.service()` changed.',
  breaker: 'A circuit breaker opened or closed.',
  replaced: 'A connection that did not reply was replaced.',
  availability: 'Redis went away, or is back.',
  slow: 'Redis answered a call late.',
  error: 'A write that no request waits for failed.',
  warning: 'Something that an operator should fix. Each is reported once.',
}

/** A typed emitter whose events also go to `node:diagnostics_channel`, as `turnpike:<name>`. */
export class EventBus {
  /** What the features count whether or not anything listens. */
  readonly counts: FeatureCounts = new FeatureCounts()
  /** Each listener in an object of its own, so that one can subscribe twice. */
  readonly #subscriptions = new Map<EventName, Set<{ listener: TurnpikeListener<never> }>>()
  readonly #channels = new Map<EventName, Channel>()
  readonly #warned = new DistinctWarnings()
  readonly #debug: DebugOutput

  /** @param debug the value of DEBUG */
  constructor(debug?: string) {
    this.#debug = new DebugOutput(debug)
    for (const name of Object.keys(EVENTS) as BuiltInEventName[]) this.#channelOf(name)
  }

  /** Subscribes to an event and returns the function that unsubscribes. */
  on<Name extends EventName>(name: Name, listener: TurnpikeListener<Name>): () => void {
    const subscription = { listener }
    const all = this.#subscriptions.get(name) ?? new Set()
    this.#subscriptions.set(name, all.add(subscription))
    return () => {
      const current = this.#subscriptions.get(name)
      current?.delete(subscription)
      if (current?.size === 0) this.#subscriptions.delete(name)
    }
  }

  /** Returns true if anything listens. Ask before you build an event on the request path. */
  hasListeners(name: EventName): boolean {
    return this.#subscriptions.has(name) || this.#channelOf(name).hasSubscribers
  }

  /**
   * Returns the time by `performance.now()` if anything listens to an event, to measure what the event
   * is about. Undefined otherwise: then nothing is measured.
   */
  begin(name: EventName): number | undefined {
    return this.hasListeners(name) ? performance.now() : undefined
  }

  /** Returns the milliseconds since `begin()`. Undefined if nothing listened then. */
  since(began: number | undefined): number | undefined {
    return began === undefined ? undefined : performance.now() - began
  }

  /** Reports an event to all listeners. An error of a listener surfaces as an uncaught exception. */
  emit<Name extends EventName>(name: Name, event: EventMap[Name]): void {
    for (const { listener } of this.#subscriptions.get(name) ?? []) {
      try {
        ;(listener as TurnpikeListener<Name>)(event)
      } catch (error) {
        // Throw it later. Thrown here, it would change the decision that is reported.
        process.nextTick(() => {
          throw error
        })
      }
    }
    const bus = this.#channelOf(name)
    if (bus.hasSubscribers) bus.publish(event)
  }

  /** Reports something that an operator should fix, once: as an event and as a process warning. */
  warn(message: string): void {
    const text = this.#warned.textOf(message)
    if (text === undefined) return
    this.emit('warning', { message: text })
    process.emitWarning(text, { type: 'TurnpikeWarning' })
  }

  /** Warns of a name that is nearly that of an event. Others may be events of extensions. */
  warnOfName(name: string): void {
    if (Object.hasOwn(EVENTS, name)) return
    const near = closestMatch(name, Object.keys(EVENTS))
    if (near !== undefined)
      this.warn(`tp.on(): turnpike has no event '${name}'. Did you mean '${near}'?`)
  }

  /** Returns the channel of an event. An extension's is created at first use. */
  #channelOf(name: EventName): Channel {
    const known = this.#channels.get(name)
    if (known !== undefined) return known
    const created = channel(`turnpike:${name}`)
    this.#channels.set(name, created)
    const print = this.#debug.listenerOf(name)
    if (print) this.on(name, print)
    return created
  }
}
