import { channel, type Channel } from 'node:diagnostics_channel'
import { formatWithOptions } from 'node:util'

/** What `tp.on` reports. No event carries a credential, a cookie or a command's arguments. */
export interface EventMap {
  /** A rate limit or login guard decided on a request or call. */
  decision: {
    feature: 'rateLimit' | 'loginGuard' | 'limiter'
    /** The mount's name. */
    name: string
    allowed: boolean
    /** True where a shadow limit let a request pass that it would have refused. */
    shadow: boolean
    /** Who decided: Redis (or the in-process engine in its place), the local floor while Redis is away, the deny cache, or the failure rule. */
    source: 'store' | 'local' | 'deny-cache' | 'open' | 'closed'
    /** The policy that refused, or the tightest one. */
    policy: string | undefined
    limit: number | undefined
    remaining: number | undefined
    /** Milliseconds until the same cost would be admitted; 0 when allowed, undefined when never. */
    retryAfterMs: number | undefined
    /** The escaped subject, as it stands in the key. */
    subject: string
  }
  /** Something noteworthy happened to a session; `handle` is what `tp.sessions.list()` calls it, never its id. */
  session: {
    /** The cookie's name. */
    name: string
    type:
      | 'login'
      | 'logout'
      /** Two requests had changed it at once, and both changes are kept. */
      | 'merged'
      /** It was destroyed while a request worked on it: what that request wanted to save is not saved. */
      | 'dropped'
      /** What is stored cannot be read. */
      | 'corrupt'
      /** The request carried two different cookies, both well signed: neither was believed. */
      | 'two-cookies'
    handle: string | undefined
  }
  /** A lock or a semaphore's place was asked for, or lost. */
  lock: {
    feature: 'lock' | 'semaphore'
    name: string
    type: 'acquired' | 'refused' | 'lost'
    /** The escaped name, as it stands in the key. */
    subject: string
    /** The fencing token, of a lock that is or was held. */
    token: number | undefined
    waitedMs: number
  }
  /** What became of a request with an idempotency key. */
  idempotency: {
    /** The mount's name. */
    name: string
    type:
      /** Nobody had used the key: the handler runs. */
      | 'first'
      /** An earlier attempt did not end: the handler runs again. */
      | 'recovered'
      /** The stored answer was given again. */
      | 'replayed'
      /** The first request is still running. */
      | 'running'
      /** The key was used for another request. */
      | 'mismatch'
      /** An earlier attempt did not end, and `onCrash` says 'conflict'. */
      | 'interrupted'
      /** The answer is stored. */
      | 'stored'
      /** The handler failed, and the key may be used again. */
      | 'released'
      /** The answer was sent, and could not be stored yet: it is tried again until the lease ends. */
      | 'pending'
      /** It was not stored before the lease ended. */
      | 'unstored'
      /** Another attempt has taken over: this one's answer is not sent. */
      | 'lost'
    attempt: number | undefined
    /** The escaped scope, as it stands in the key: a digest. */
    subject: string
  }
  /** A request came to the response cache. */
  cache: {
    /** The mount's name. */
    name: string
    /** `near`: a hit in this process. `collapsed`: shared with a request that came at the same time. `bypass`: the cache kept out of it. */
    type: 'hit' | 'near' | 'stale' | 'collapsed' | 'miss' | 'bypass'
    /** The entry's key; undefined where none was worked out. */
    key: string | undefined
  }
  /** A feature could not use the store and answered by its failure rule. */
  unavailable: { feature: string; name: string; reason: string; uncertain: boolean; rule: string }
  /** The circuit breaker of a connection changed. On a Cluster every node has one: `node` is its address. */
  breaker: { store: string; state: 'open' | 'closed'; reason: string | undefined; node?: string }
  /** A connection that owed an answer for too long was replaced. */
  replaced: { store: string }
  /** A write that nobody waits for (a refund, say) failed. */
  error: { feature: string; name: string; error: unknown }
  /** Something an operator should mend; each is said once. */
  warning: { message: string }
}

export type EventName = keyof EventMap
export type TurnpikeListener<Name extends EventName> = (event: EventMap[Name]) => void

/**
 * Every event of the package, with a sentence for documentation and tools. A name of `EventMap`
 * that is missing here does not compile. Extensions elsewhere merge their events into `EventMap`
 * and need no line here.
 */
export const EVENTS: Readonly<Record<EventName, string>> = {
  decision: 'A rate limit or login guard decided on a request or call.',
  session: 'Something noteworthy happened to a session.',
  lock: 'A lock or permit was acquired, refused or lost.',
  idempotency: 'What happened to a request with an idempotency key.',
  cache: 'The response cache handled a request.',
  unavailable: 'A feature could not use the store and applied its failure rule.',
  breaker: 'A circuit breaker opened or closed.',
  replaced: 'A connection that did not reply was replaced.',
  error: 'A write that no request waits for failed.',
  warning: 'Something that an operator should fix. Each is reported once.',
}

/** A typed emitter whose events also go to `node:diagnostics_channel`, as `turnpike:<name>`. */
export class EventBus {
  readonly #listeners = new Map<EventName, Set<TurnpikeListener<never>>>()
  readonly #channels = new Map<EventName, Channel>()
  readonly #warned = new Set<string>()
  readonly #debug: (name: EventName) => boolean

  /** @param debug the value of DEBUG: names and `*`, separated by commas */
  constructor(debug: string = process.env['DEBUG'] ?? '') {
    this.#debug = debugFilter(debug)
    for (const name of Object.keys(EVENTS) as EventName[]) this.#channelOf(name)
  }

  /** Subscribes to an event and returns the function that unsubscribes. */
  on<Name extends EventName>(name: Name, listener: TurnpikeListener<Name>): () => void {
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners.add(listener))
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0) this.#listeners.delete(name)
    }
  }

  /** Returns true if anything listens. Ask before you build an event on the request path. */
  hasListeners(name: EventName): boolean {
    return this.#listeners.has(name) || this.#channelOf(name).hasSubscribers
  }

  emit<Name extends EventName>(name: Name, event: EventMap[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        ;(listener as TurnpikeListener<Name>)(event)
      } catch (error) {
        // A listener's error must not change a decision. It surfaces as it would from any emitter.
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
    if (this.#warned.has(message)) return
    this.#warned.add(message)
    this.emit('warning', { message })
    process.emitWarning(message, { type: 'TurnpikeWarning' })
  }

  /** Extensions may bring names that are not in `EVENTS`: their channels are created at first use. */
  #channelOf(name: EventName): Channel {
    const known = this.#channels.get(name)
    if (known !== undefined) return known
    const created = channel(`turnpike:${name}`)
    this.#channels.set(name, created)
    if (this.#debug(name)) this.on(name, (event) => print(name, event))
    return created
  }
}

/** Returns whether DEBUG asks for an event. */
function debugFilter(debug: string): (name: string) => boolean {
  const patterns = debug
    .split(/[\s,]+/)
    .filter((each) => each === '*' || each.startsWith('turnpike:'))
  return (name) =>
    patterns.some((each) => each === '*' || each === 'turnpike:*' || each === `turnpike:${name}`)
}

function print(name: string, event: object): void {
  const line = formatWithOptions({ breakLength: Infinity, depth: 2 }, 'turnpike:%s %o', name, event)
  process.stderr.write(`${line.replaceAll('\n', ' ')}\n`)
}
