/** What events say that have many members. `EventMap` names them. */

/** The response cache handled a request. */
export interface CacheEvent {
  /** The mount's name. */
  name: string
  /**
   * `near`: a hit in this process. `collapsed`: shares the response of a concurrent request.
   * `bypass`: neither read nor stored.
   */
  type: 'hit' | 'near' | 'stale' | 'collapsed' | 'miss' | 'bypass'
  /** The key of the entry, undefined if none was computed. */
  key: string | undefined
  /** Why a request was passed by, or why the response of a miss was not stored: see docs/cache.md. */
  reason: string | undefined
  /**
   * Time in ms since the request reached the cache, that of its handler included. Undefined if it
   * was answered or passed by at once.
   */
  ms: number | undefined
}

/** A handler has made a response that a cache was to store. */
export interface FillEvent {
  name: string
  type: 'stored' | 'not-stored'
  key: string
  /** Why the response is not stored: see docs/cache.md. */
  reason: string | undefined
  bytes: number | undefined
  ttlMs: number | undefined
  ms: number
}

/** Redis answered a call late. */
export interface SlowEvent {
  store: string
  operation: string
  ms: number
  /**
   * `process`: the event loop of this process was blocked. `server`: the call after it was slow,
   * too. `call`: only this one was.
   */
  cause: 'process' | 'server' | 'call'
  /** Number of slow calls since the event before, this one included. */
  count: number
  /** Address of the server, on a Cluster. */
  node?: string
}

/** What `tp.on('control')` reports. */
export interface ControlEvent {
  type:
    /** A rule, a mode or a policy was set. */
    | 'set'
    /** It was removed. */
    | 'lifted'
    /** All rules were read: at the start, or because a message was lost. */
    | 'loaded'
  /** Address, network, `subject:`, `limit:` or `policy:` with its name. Undefined if all were read. */
  target: string | undefined
  /** What was set: `deny`, `allow`, a mode, or `change` for a policy. */
  effect: string | undefined
  /** Who set it. */
  by: string | undefined
  reason: string | undefined
  /** Number of rules, modes and changed policies now. */
  rules: number
  /** Version of the rules now. */
  version: string
}

/** What `tp.on('ban')` reports. */
export interface BanEvent {
  /** The ban's name. */
  name: string
  /** `shadow`: the client was not banned. `reason` says why. */
  type: 'banned' | 'shadow'
  /** The address, or the network of an IPv6 address. */
  address: string
  /** How long the ban is, in ms. */
  forMs: number
  /** There were 60 bans within a minute, or there is no room for further rules. */
  reason: 'too-many' | 'full' | undefined
}
