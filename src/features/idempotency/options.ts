import type { Duration } from '../../duration.ts'
import type { KeyValue } from '../../store/subject.ts'

/** What a step is told. */
export interface StepContext {
  /** The same in each attempt, and in no other request or step: hand it on as the idempotency key of the service that is called. */
  key: string
  /** This attempt's fencing token: greater than that of all attempts before. */
  token: number
  /** 1 for the first. */
  attempt: number
}

/** What a handler finds in `req.idempotency` (Koa: `ctx.state.idempotency`). */
export interface Idempotency {
  /** The client's key. */
  readonly key: string
  /** The same for all attempts at this request, and for no other request: for a UNIQUE column. */
  readonly id: string
  /** This attempt's fencing token: greater than that of all attempts before. */
  readonly token: number
  /** 1 for the first. */
  readonly attempt: number
  /** An earlier attempt began and did not end well: its effects may have happened. */
  readonly recovered: boolean
  /** Fires when the lease is lost: another attempt may begin. */
  readonly signal: AbortSignal
  /**
   * Do part of the work, and remember what it came to (as JSON): when the request is run again, the
   * result is given and `work` is not called. A crash between the effect and its remembering repeats
   * `work` with the same `key`, which is for the service that is called.
   * @throws TP_IDEMPOTENCY_LOST when another attempt has taken over
   */
  step<Result>(
    name: string,
    work: (context: StepContext) => Promise<Result> | Result,
  ): Promise<Result>
}

/** Options of `tp.idempotency()`. All have defaults. */
export interface IdempotencyOptions<Native> {
  /** How long answers are kept and given again. Default `'24h'`. */
  ttl?: Duration
  /** How long a crashed process keeps a request from being run again; renewed at a third of it while the handler runs. Default `'30s'`. */
  lease?: Duration
  /** How long a handler may run at most before its lease is renewed no more. Default ten leases. */
  maxLease?: Duration
  /** How long a repeated request waits for the answer of one that is running. Default 0: it is answered 409 at once. */
  wait?: Duration
  /** Refuse requests without a key. Default false: they pass, unprotected. */
  required?: boolean
  /** Which requests are looked at. Default POST and PATCH. */
  methods?: readonly string[]
  /** The header that holds the key. Default `'Idempotency-Key'`. */
  header?: string
  /**
   * Whose key it is: the same key of two of them is two keys. Default: the user (`req.session.userId`,
   * `req.user.id`, `ctx.state.user.id`), else the Authorization header, else X-API-Key, else the address.
   * With one of `tp.key`'s that needs only the request, a `tp.pipeline()` asks for the key along with all else.
   */
  scope?: (native: Native) => KeyValue | Promise<KeyValue>
  /**
   * What makes two requests with one key the same request. `'body'`: path, query and the body's bytes, or,
   * after a body parser, what it made of them; `'json'`: the body as JSON in canonical form, wherever the
   * parser stands; or a function. Default `'body'`.
   */
  fingerprint?: 'body' | 'json' | ((native: Native) => string | Promise<string>)
  /** Which answers are stored, by status; after others the key may be used again. Default: all below 500 but 408, 423, 425 and 429. */
  store?: (status: number) => boolean
  /** Header fields that are stored besides the usual ones (docs/idempotency.md has the list). */
  headers?: readonly string[]
  /** Longer answers are not kept, only that there was one: a repeated request is answered 409. In bytes. Default 1 MiB. */
  maxBodyBytes?: number
  /** How much of a request's body is compared (and held in memory for that); of longer ones also the length. In bytes. Default 1 MiB. */
  maxRequestBytes?: number
  /** A request whose first attempt never ended: run it again, or refuse (409) because nobody knows what happened. Default `'rerun'`. */
  onCrash?: 'rerun' | 'conflict'
  /** When Redis cannot answer: `'closed'` answers 503, `'open'` runs the handler unprotected. Default `'closed'`. */
  fail?: 'closed' | 'open'
  /** Where your clients can read about keys: a link in the problems that they are told about. */
  docsUrl?: string
  /** Requests for which it is true pass, unprotected. */
  skip?: (native: Native) => boolean | Promise<boolean>
  /** Sets this mount's keys apart from another's. Default `'default'`. */
  name?: string
}
