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

/** The status of a service of `tp.service()` changed. */
export interface ServiceEvent {
  /** The service's name. */
  name: string
  status: 'healthy' | 'degraded' | 'error'
  /** Undefined if it was not known. */
  before: 'healthy' | 'degraded' | 'error' | undefined
  /** Why its check failed: it threw or returned `false`, or gave no answer in time. */
  reason: 'failed' | 'timeout' | undefined
  /** How long the check took, or what the service reported, in ms. */
  ms: number | undefined
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

/** A session was created for a user, ended, or could not be stored or read as it was. */
export interface SessionEvent {
  /** The cookie's name. */
  name: string
  type:
    | 'login'
    | 'logout'
    /** Two requests changed it at the same time. Both changes are kept. */
    | 'merged'
    /** It was destroyed while a request used it. The changes of that request are not saved. */
    | 'dropped'
    /** Its stored value cannot be read. */
    | 'corrupt'
    /** The request had two different cookies with valid signatures. Neither was accepted. */
    | 'two-cookies'
    /** Stored data has the name of a member, for example `save`. It is not on the session. */
    | 'reserved-name'
  /** The session's handle in `tp.sessions.list()`. It is not its ID. */
  handle: string | undefined
  /** How long a login or logout waited for the store, in ms. Undefined for other types. */
  ms: number | undefined
}

/** What happened to a request with an idempotency key. */
export interface IdempotencyEvent {
  /** The mount's name. */
  name: string
  type:
    /** The key is new. The handler runs. */
    | 'first'
    /** An earlier attempt did not end. The handler runs again. */
    | 'recovered'
    /** The stored response was sent again. */
    | 'replayed'
    /** The first request is still running. */
    | 'running'
    /** The key was used for another request. */
    | 'mismatch'
    /** An earlier attempt did not end, and `onCrash` is 'conflict'. */
    | 'interrupted'
    /** The response is stored. */
    | 'stored'
    /** The handler failed, and the key may be used again. */
    | 'released'
    /** The response was sent but is not stored yet. Storing it is retried until the lease ends. */
    | 'pending'
    /** The response was not stored before the lease ended. */
    | 'unstored'
    /** Another attempt has taken over. The response of this one is not sent. */
    | 'lost'
  /** Number of this attempt, from 1. */
  attempt: number | undefined
  /** The scope as in its key: a digest. */
  subject: string
  /** Time in ms since the request asked for its key, that of its handler and of waiting included. */
  ms: number
}

/** Something happened to a token of `turnpike/tokens`. No event carries the token itself. */
export interface TokenEvent {
  feature: 'oneTimeTokens' | 'refreshTokens' | 'apiKeys'
  /** The purpose of one-time tokens, the name of others. */
  name: string
  type:
    /** A one-time token, or the first token of a family, was issued. */
    | 'issued'
    /** Nothing was done: too early for another one-time token, or too many attempts of an address. */
    | 'limited'
    /** A one-time token was looked at. It may still be used. */
    | 'seen'
    /** A one-time token was used up. */
    | 'consumed'
    /** A one-time token was wrong, and the issued one is void now: it was the last attempt. */
    | 'burned'
    /** A refresh token was exchanged for its successor. */
    | 'rotated'
    /** A used refresh token was exchanged for the same successor within its grace. */
    | 'repeated'
    /** A used refresh token came after its grace. Its family is dead: tell the user. */
    | 'reused'
    /** An API key was accepted. */
    | 'accepted'
    /** A token was not accepted. */
    | 'refused'
    /** The application ended a token, a family, all families of a user, or a key. */
    | 'revoked'
  /** Whose one-time token, or which API key: a digest, as it stands in the key. */
  subject: string | undefined
  /** Whose refresh token: the ID that the application gave. Undefined where it is not known. */
  user: string | undefined
  /** Which family of refresh tokens, as `list()` shows it. */
  family: string | undefined
  /** How long it took, in ms. Undefined if it was known at once. */
  ms: number | undefined
}
