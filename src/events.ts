import { channel, type Channel } from 'node:diagnostics_channel'
import { formatWithOptions } from 'node:util'

/** What `tp.on` reports. No event carries a credential, a cookie or a command's arguments. */
export interface Events {
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
    what:
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
    what: 'acquired' | 'refused' | 'lost'
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
    what:
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
    outcome: 'hit' | 'near' | 'stale' | 'collapsed' | 'miss' | 'bypass'
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

export type EventName = keyof Events
export type Listener<Name extends EventName> = (event: Events[Name]) => void

/** A typed emitter whose events also go to `node:diagnostics_channel`, as `turnpike:<name>`. */
export class Emitter {
  readonly #listeners = new Map<EventName, Set<Listener<never>>>()
  readonly #channels = new Map<EventName, Channel>()
  readonly #said = new Set<string>()
  readonly #debug: (name: EventName) => boolean

  /** @param debug the value of DEBUG: names and `*`, separated by commas */
  constructor(debug: string = process.env['DEBUG'] ?? '') {
    this.#debug = matcher(debug)
    for (const name of [
      'decision',
      'session',
      'cache',
      'lock',
      'idempotency',
      'unavailable',
      'breaker',
      'replaced',
      'error',
      'warning',
    ] as const) {
      this.#channels.set(name, channel(`turnpike:${name}`))
      if (this.#debug(name)) this.on(name, (event) => print(name, event))
    }
  }

  /** Hear every event called `name`; gives the function that ends it. */
  on<Name extends EventName>(name: Name, listener: Listener<Name>): () => void {
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners.add(listener))
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0) this.#listeners.delete(name)
    }
  }

  /** Is anybody listening? Ask before building an event on the request path. */
  hears(name: EventName): boolean {
    return this.#listeners.has(name) || this.#channels.get(name)!.hasSubscribers
  }

  emit<Name extends EventName>(name: Name, event: Events[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        ;(listener as Listener<Name>)(event)
      } catch (error) {
        // A listener's mistake must not change a decision; it surfaces as it would from any emitter.
        process.nextTick(() => {
          throw error
        })
      }
    }
    const bus = this.#channels.get(name)!
    if (bus.hasSubscribers) bus.publish(event)
  }

  /** Say something an operator should mend, once: as an event and as a process warning. */
  warn(message: string): void {
    if (this.#said.has(message)) return
    this.#said.add(message)
    this.emit('warning', { message })
    process.emitWarning(message, { type: 'TurnpikeWarning' })
  }
}

/** Which events does DEBUG ask for? */
function matcher(debug: string): (name: string) => boolean {
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
