import type { Readable } from 'node:stream'
import type { Identity } from './identity.ts'
import type { Refusal, ReplyFunction } from './refusal.ts'
import type { RequestBudget } from '../request-budget.ts'

/** Header fields by name. A list is sent as several fields. */
export type HeaderFields = Record<string, string | readonly string[]>

/** What a feature may know of a request. Every property is lazy and costs nothing until it is read. */
export interface Exchange<Native = unknown> {
  /** Express's and node's `req`, Koa's `ctx`: what a user's own callbacks receive. */
  readonly native: Native
  readonly method: string
  /** The request target as the client sent it, whatever router this is mounted under. */
  readonly url: string
  /**
   * The target that routers use now. It differs from `url` below a mount path, and after a middleware
   * has rewritten it.
   */
  readonly routedUrl: string
  /** The client's address by the framework's own proxy rules, except that an address which any client could make up is not believed. */
  readonly ip: string
  /** Did the request come over TLS, by the framework's own proxy rules? */
  readonly secure: boolean
  /**
   * The host and port that the client asked for, in lower case and by the framework's own proxy
   * rules; undefined where they are missing, doubled or no host at all.
   */
  readonly host: string | undefined
  /** True if the framing announces a body. */
  readonly hasBody: boolean
  /** Is this a request that `again` made? Nobody waits for its answer. */
  readonly isBackground: boolean
  /**
   * Everything that told the target, host and scheme of a request when it came to the edge, as one
   * text: requests alike in it are alike in `url`, `host` and `secure`. Undefined where it did not.
   */
  readonly listenerKey: string | undefined
  /** The pattern of the matched route, with the mount path before it; undefined where there is none. */
  readonly route: string | undefined
  /** Who sends the request. */
  readonly identity: Identity
  /** What this request may still spend on the store. */
  readonly budget: RequestBudget
  /** A request header; repeated ones are joined with a comma. `name` is in lower case. */
  header(name: string): string | undefined
  /**
   * Send this request through the whole application once more, with nobody waiting for the answer.
   * @param fields request headers to be changed or, where undefined, left out
   * @returns when it is over; undefined where that is not possible
   */
  sendInBackground(fields: Record<string, string | undefined>): Promise<void> | undefined
}

/** An answer instead of the handler's. */
export interface Reply {
  status: number
  headers?: HeaderFields
  /** Names of fields that outer middlewares have set, and that the response must not have. */
  remove?: readonly string[]
  body?: string | Buffer | Readable
  /** The bytes of `body` once more, as Latin-1: node sends a head and a text in one piece. */
  text?: string | undefined
  /** With `text`: `headers` and Content-Length once more, as `writeHead` takes them where nobody has set a field. */
  lines?: string[] | undefined
}

/** A response as it was at the place where it was looked at. */
export interface SentResponse {
  status: number
  /** The fields that were set further inside, not those that were there before. */
  headers: HeaderFields
  body: Buffer
}

/** The head of a response, as it was at the place where it was looked at. */
export interface SentHead extends Pick<SentResponse, 'status' | 'headers'> {
  /** Names of fields that were set further outside, and that inner middlewares have removed. */
  readonly removed: readonly string[]
  /** Returns a field as it stands now, whoever has set it. */
  readonly field: FieldReader
}

/** Returns the value of a header field of the response. Several are joined with a comma. */
export type FieldReader = (name: string) => string | undefined

/** How a feature looks at the response. */
export interface BodyCapture {
  /** In bytes: of a longer body nothing is kept. */
  limit: number
  /** The head, as soon as it is known, and before any `head` of the Plan is asked for. */
  onHead?: (head: SentHead) => void
  /** The whole response, before any `seal`. */
  onComplete: (sent: SentResponse) => void
  /** Koa unwinds an error past our place: its answer is not seen, and this is called in its stead. */
  onError?: () => void
  /** The body has outgrown its limit: `then` will not be called. */
  onOverflow?: () => void
  /** Call `then` also when the client has gone meanwhile. Default false. */
  evenIfAborted?: boolean
  /**
   * May give another answer in the place of this one. Asked only where nothing has been sent yet and
   * the body is whole; in Koa also for an error, with its status.
   */
  replace?: (sent: SentResponse) => Reply | undefined
}

/** How a response came to its end. */
export interface ResponseEnd {
  /** The status that was sent. */
  status: number
  /** False when the client went away, or the socket broke, before the end. */
  finished: boolean
}

/** Answers the request now. */
export interface ReplyPlan {
  reply: Reply
  refusal?: undefined
}

/** Turns the request away. `refusals` of the instance decides who replies. */
export interface RefusalPlan {
  reply?: undefined
  refusal: Refusal
  /** The application's own reply. It replies even with `refusals: 'next'`: it was set for this mount. */
  replyWith?: ReplyFunction<any, any> | undefined
}

/** Lets the request pass, and takes part in the response. */
export interface PassPlan {
  reply?: undefined
  refusal?: undefined
  /** Names to hang on `req`, or on `ctx.state`. */
  state?: Record<string, unknown>
  /** Names to hang on `req`, or on `ctx` itself, where applications assign to them. */
  assign?: Record<string, unknown>
  /**
   * Fields set when the head is sent, so that no error handler can wipe them: the innermost
   * feature's first, so that the outermost has the last word. `Set-Cookie` and list fields append.
   * Must change nothing: a capture further out asks for it, too.
   * @param field returns a field that is set already
   */
  headers?: (field: FieldReader) => HeaderFields
  /**
   * The whole response as it was at our place, if it ended well and stayed within a limit.
   */
  capture?: BodyCapture
  /** Request headers as everybody further inside is to see them; undefined hides one. */
  requestHeaders?: Record<string, string | undefined>
  /** Returns the query as inner middlewares are to see it. Outer ones see the request as it came. */
  requestQuery?: (query: string) => string
  /** Names to hang on `res`, or on `ctx` itself: what a handler may call. */
  responseHelpers?: Record<string, unknown>
  /**
   * Work to be done before the head of a response that goes out before its end (a stream). What the
   * handler writes waits for it; if it fails, so does the request. `beforeEnd` is asked at the end,
   * too. Undefined where there is nothing to wait for.
   */
  beforeHead?: ((status: number) => Promise<void> | undefined) | undefined
  /**
   * Work to be done before the client can see the end of the response, all features' side by
   * side; if it fails, so does the request. Not called if the handler never ends the response.
   * Undefined where there is nothing to wait for.
   */
  beforeEnd?: (
    status: number,
    field: (name: string) => string | undefined,
  ) => Promise<void> | undefined
  /**
   * Last work before the client can see the end: it follows the `beforeEnd` of all features. What
   * must be true of the response that the client gets is written here. If it fails, so does the
   * request. Undefined where there is nothing to wait for.
   * @param isFailed true if the `beforeEnd` of a feature failed, and an error takes the response's place
   */
  commit?: ((status: number, isFailed: boolean) => Promise<void> | undefined) | undefined
  /** Runs the inner middlewares and the handler, for example in an async context. */
  around?: <Result>(next: () => Result) => Result
  /** It is over, however it ended; also when the client was gone before the handler's turn. */
  onFinish?: (onFinish: ResponseEnd) => void
  /** It is over, and nobody further inside got a turn: the client had gone before. */
  onAbort?: () => void
}

/** What a feature does with a request. */
export type Plan = ReplyPlan | RefusalPlan | PassPlan

/** The plan of a feature that has nothing to do. */
export const passThrough: PassPlan = Object.freeze({})

/**
 * A capability, written once for every framework: it reads an Exchange, gives back a Plan and
 * never touches a response.
 */
export interface Feature<Native, Early = unknown> {
  /** Names the middleware function, for stack traces. */
  readonly name: string
  /** What to do with a request that `again` made: nothing. Default: what is done with any other. */
  readonly onBackground?: 'skip'
  /** Commands that need only the request. A pipeline issues those of all its members in one tick. Must not throw; failures belong to `handle`. */
  prepare?(x: Exchange<Native>): Early | undefined
  handle(x: Exchange<Native>, early: Early | undefined): Promise<Plan> | Plan
  /** Undo a prepared write that an earlier member's answer made pointless. */
  discard?(early: Early): void
}
