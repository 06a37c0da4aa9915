import type { Duration } from '../../duration.ts'
import type { Refusal, ReplyFunction } from '../../http/refusal.ts'
import type { KeyValue } from '../../store/subject.ts'

/** What the work of a step gets. */
export interface StepContext {
  /** Idempotency key for the service that the step calls. It is the same in all attempts, and differs between steps. */
  key: string
  /** Fencing token of this attempt: greater than those of all earlier attempts. */
  token: number
  /** Number of the attempt, from 1. */
  attempt: number
}

/** What a handler finds in `req.idempotency` (Koa: `ctx.state.idempotency`). */
export interface Idempotency {
  /** The client's key. */
  readonly key: string
  /** The same for all attempts at this request, and for no other request: for a UNIQUE column. */
  readonly id: string
  /** Fencing token of this attempt: greater than those of all earlier attempts. */
  readonly token: number
  /** Number of the attempt, from 1. */
  readonly attempt: number
  /** True if an earlier attempt began and did not complete. Its effects may have happened. */
  readonly recovered: boolean
  /** Fires when the lease is lost, and another attempt may begin. Its reason is the error TP_IDEMPOTENCY_LOST. */
  readonly signal: AbortSignal
  /**
   * Does part of the work and saves its result as JSON. When the request runs again, it returns the
   * saved result and does not call `work`. A crash between the effect and the saving calls `work`
   * again with the same `key`; pass that on to the service that `work` calls.
   *
   * @throws TP_IDEMPOTENCY_LOST if another attempt has taken over
   * @example
   * const charge = await req.idempotency.step('charge', ({ key }) => stripe.charges.create(order, { idempotencyKey: key }))
   */
  step<Result>(
    name: string,
    work: (context: StepContext) => Promise<Result> | Result,
  ): Promise<Result>
}

/** Why a request was refused, for `reply`. */
export interface IdempotencyRefusal extends Refusal {
  /** Why the request is refused. */
  readonly reason:
    | 'missing'
    | 'malformed'
    | 'mismatch'
    | 'running'
    | 'not-stored'
    | 'interrupted'
    | 'unavailable'
}

/** Options of `tp.idempotency()`. All have defaults. */
export interface IdempotencyOptions<Native> {
  /**
   * How long responses are stored and replayed.
   * @default '24h'
   */
  ttl?: Duration
  /**
   * How long a crashed process keeps its request from running again. It is renewed at a third of
   * this time while the handler runs.
   * @default '30s'
   */
  lease?: Duration
  /**
   * Longest run of a handler: after it, its lease is not renewed any more.
   * @default ten leases
   */
  maxLease?: Duration
  /**
   * How long a repeated request waits for the response of a running one. With 0 it is refused at
   * once: 409.
   * @default 0
   */
  wait?: Duration
  /**
   * Refuses requests without a key: 400. Otherwise they pass unprotected.
   * @default false
   */
  required?: boolean
  /**
   * Methods that are protected.
   * @default ['POST', 'PATCH']
   */
  methods?: readonly string[]
  /**
   * Header field of the key.
   * @default 'Idempotency-Key'
   */
  header?: string
  /**
   * Returns the key, in place of the header field: for webhooks, whose events have an ID in their
   * body. Mount the body parser before. A request for which it returns undefined has no key.
   * @default none
   * @example
   * tp.idempotency({ key: (req) => req.body.id, fingerprint: () => 'any', scope: () => 'stripe' })
   */
  key?: (native: Native) => KeyValue | Promise<KeyValue>
  /**
   * Returns whose key it is: the same key of two owners is two keys. With one of `tp.key`'s helpers
   * that need only the request, a `tp.pipeline()` asks for the key together with its other reads.
   * @default the user (`req.session.userId`, `req.user.id`, `ctx.state.user.id`), else the
   * Authorization field, else X-API-Key, else the address
   */
  scope?: (native: Native) => KeyValue | Promise<KeyValue>
  /**
   * What makes two requests with one key the same request. `'body'`: path, query, media type and
   * body. JSON is compared in canonical form, and multipart without its boundary. Behind a parser of
   * uploads, fields and files are compared: name, size and content. `'json'`: every body is taken
   * for JSON. A function returns a string to compare.
   * @default 'body'
   */
  fingerprint?: 'body' | 'json' | ((native: Native) => string | Promise<string>)
  /**
   * Returns whether a response is stored, by its status. After other responses the key can be used
   * again.
   * @default all below 500, except 408, 413, 423, 425, 429 and 499
   */
  store?: (status: number) => boolean
  /**
   * Header fields of the response that are not stored, and not replayed. Set-Cookie, Date and the
   * fields of the connection never are. All others are that were set behind this middleware.
   * @default []
   */
  omitHeaders?: readonly string[]
  /**
   * Longest body of a response that is stored, in bytes. Of longer ones only the status is stored,
   * and a repeated request is refused: 409.
   * @default 1048576
   */
  maxBodyBytes?: number
  /**
   * Longest part of a request's body that is held in memory and compared, in bytes. Of longer
   * bodies the length is compared, too.
   * @default 1048576
   */
  maxRequestBytes?: number
  /**
   * What happens to a request whose last attempt did not end. `'rerun'`: it runs again.
   * `'conflict'`: it is refused (409), because its effect is unknown.
   * @default 'rerun'
   */
  onCrash?: 'rerun' | 'conflict'
  /**
   * What happens while Redis cannot answer. `'closed'`: 503. `'open'`: the handler runs unprotected.
   * @default 'closed'
   */
  fail?: 'closed' | 'open'
  /** Page about keys for your clients. Refusals link to it. @default none */
  docsUrl?: string
  /** Returns true for requests that pass unprotected. @default none */
  skip?: (native: Native) => boolean | Promise<boolean>
  /**
   * Phrases refusals. Returns undefined for the default reply, problem+json (RFC 9457).
   * @default none
   */
  reply?: ReplyFunction<Native, IdempotencyRefusal>
  /**
   * Name of the mount in keys and events. Mounts of one name share their keys.
   * @default 'default'
   */
  name?: string
}
