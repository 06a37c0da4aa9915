import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import type { Identity } from './identity.ts'
import type { Refusal, ReplyFunction } from './refusal.ts'
import type { RequestBudget } from '../request-budget.ts'

/** Header fields by name. A list is sent as several fields. */
export type HeaderFields = Record<string, string | readonly string[]>

/** What a feature may know of a request. Every property is computed when it is read. */
export interface Exchange<Native = unknown> {
  /** Express's and node's `req`, Koa's `ctx`: what callbacks of the application receive. */
  readonly native: Native
  /** The method of the request, for example `'GET'`. */
  readonly method: string
  /** The request target as the client sent it, whatever router the feature is mounted in. */
  readonly url: string
  /**
   * The target that routers use now. It differs from `url` below a mount path, and after a middleware
   * has rewritten it.
   */
  readonly routedUrl: string
  /**
   * The request target, if it is certain that features and handlers see the same target, host and
   * scheme. Undefined for fragments, absolute forms and control characters in the target, for a
   * missing or ambiguous host, and for an unknown forwarded scheme. Features whose keys name the
   * target let such a request pass.
   */
  readonly target: string | undefined
  /**
   * The client's address by the framework's own proxy rules, without port and zone. An address that
   * any client can make up is not believed. '' if there is none.
   */
  readonly ip: string
  /** True if the request came over TLS, by the framework's own proxy rules. */
  readonly secure: boolean
  /**
   * The host and port that the client asked for, in lower case and by the framework's own proxy
   * rules. Undefined if they are missing, doubled, contradictory or malformed.
   */
  readonly host: string | undefined
  /** True if the framing announces a body. */
  readonly hasBody: boolean
  /** True for a request that this process has made. No client waits for its response. */
  readonly isBackground: boolean
  /** True for a request that `sendInBackground` has sent. The others fill what is missing, like a client's. */
  readonly isRefresh: boolean
  /**
   * Everything that decides on target, host and scheme of a request at the cache listener, as one
   * string. Requests with the same string have the same `url`, `host` and `secure`. Undefined for
   * a request that did not come through the listener.
   */
  readonly listenerKey: string | undefined
  /** The pattern of the matched route, mount patterns included: `/shops/:shop/items`. Undefined where none is known. */
  readonly route: string | undefined
  /** Who sends the request. */
  readonly identity: Identity
  /** The time that this request may still wait for the store. */
  readonly budget: RequestBudget
  /** The request headers as node has them, by name in lower case. Read them by constant names: that is fastest. */
  readonly headers: IncomingHttpHeaders
  /** Returns a request header. Repeated ones are joined with a comma. @param name in lower case */
  header(name: string): string | undefined
  /**
   * Sends this request through the whole application again. No client waits for the response.
   * @param fields request headers to change or, where undefined, to leave out
   * @returns a promise for the end of the request; undefined if the server cannot do it
   */
  sendInBackground(fields: Record<string, string | undefined>): Promise<void> | undefined
}

/** What a cache needs of a request, also before a framework gets it. */
export type RequestHead = Pick<Exchange, 'method' | 'headers'>

/** A response in place of the handler's. */
export interface Reply {
  /** Status code. */
  status: number
  /** Header fields. */
  headers?: HeaderFields
  /** Names of fields that outer middlewares have set, and that the response must not have. */
  remove?: readonly string[]
  /** The body. A stream is piped. */
  body?: string | Buffer | Readable
  /** The bytes of `body` again, as a Latin-1 string: node sends a head and a string in one piece. */
  text?: string | undefined
  /** With `text`: `headers` and Content-Length again, as `writeHead` takes them if no field is set yet. */
  lines?: string[] | undefined
}

/** A response as it was at one place of the stack. */
export interface SentResponse {
  /** Status code. */
  status: number
  /** The fields that inner middlewares, features and the handler have set. */
  headers: HeaderFields
  /** The whole body, as it was written at this place. */
  body: Buffer
}

/** The head of a response as it was at one place of the stack. */
export interface SentHead extends Pick<SentResponse, 'status' | 'headers'> {
  /** Names of fields that outer middlewares have set, and that inner middlewares have removed. */
  readonly removed: readonly string[]
  /** Returns a field as it is now. */
  readonly field: FieldReader
}

/** Returns the value of a header field of the response. Several are joined with a comma. */
export type FieldReader = (name: string) => string | undefined

/** How a feature sees the response. */
export interface BodyCapture {
  /** Longest body that is kept, in bytes. */
  limit: number
  /** Called with the head as soon as it is known. */
  onHead?: (head: SentHead) => void
  /** Called with the whole response, before the work before the end begins. */
  onComplete: (sent: SentResponse) => void
  /** Called in place of `onComplete` if an error passes this place in Koa: its response is not seen. */
  onError?: () => void
  /** Called when the body grows beyond `limit`. `onComplete` is not called then. */
  onOverflow?: () => void
  /** Call `onComplete` also if the client has gone meanwhile. @default false */
  evenIfAborted?: boolean
  /**
   * Returns another response to send in place of this one. Called only while nothing has been sent,
   * and with the whole body. In Koa also for an error, with its status.
   */
  replace?: (sent: SentResponse) => Reply | undefined
}

/** How a response ended. */
export interface ResponseEnd {
  /** The status that was sent. */
  status: number
  /** False if the client went away, or the connection broke, before the end. */
  finished: boolean
}

/** Answers the request now. */
export interface ReplyPlan {
  /** The response. */
  reply: Reply
  /** Never set: the plan is a reply. */
  refusal?: undefined
}

/** Turns the request away. `refusals` of the instance decides who replies. */
export interface RefusalPlan {
  /** Never set: the plan is a refusal. */
  reply?: undefined
  /** Why the request is refused, and with which status. */
  refusal: Refusal
  /** The application's own reply. It replies even with `refusals: 'next'`: it was set for this mount. */
  replyWith?: ReplyFunction<any, any> | undefined
}

/** Lets the request pass, and takes part in the response. */
export interface PassPlan {
  /** Never set: the request passes. */
  reply?: undefined
  /** Never set: the request passes. */
  refusal?: undefined
  /** Properties to set on `req`, or on `ctx.state`. */
  state?: Record<string, unknown>
  /** Properties to set on `req`, or on `ctx` itself: applications assign to them. */
  assign?: Record<string, unknown>
  /**
   * Returns fields to set when the head is sent, so that no error handler can remove them. The
   * innermost feature's are set first, so that the outermost decides. `Set-Cookie` and lists append.
   * It is called again for an outer capture, and after work before the head or the end, so it must
   * change nothing.
   * @param field returns a field that is set already
   */
  headers?: (field: FieldReader) => HeaderFields
  /** Sees the whole response as it is at this place. */
  capture?: BodyCapture
  /** Request headers that inner middlewares see in place of the client's. Undefined hides one. */
  requestHeaders?: Record<string, string | undefined>
  /** Returns the query that inner middlewares see. Outer ones see the request as it came. */
  requestQuery?: (query: string) => string
  /** Properties to set on `res`, or on `ctx` itself: functions that a handler may call. */
  responseHelpers?: Record<string, unknown>
  /**
   * Starts work that must be done before the head goes out, if it goes out before the end: a stream,
   * flushed headers. What the handler writes waits for the work. If it fails, so does the request.
   * `beforeEnd` is called at the end, too. It returns undefined if there is nothing to wait for.
   */
  beforeHead?: ((status: number) => Promise<void> | undefined) | undefined
  /**
   * Starts work that must be done before the client can see the end of the response. The work of all
   * features runs side by side. If one fails, so does the request. It is not called if the handler
   * never ends the response. It returns undefined if there is nothing to wait for.
   */
  beforeEnd?: (
    status: number,
    field: (name: string) => string | undefined,
  ) => Promise<void> | undefined
  /**
   * Starts the last work before the client can see the end: it follows the `beforeEnd` of all
   * features. What must be true of the response that the client gets is written here. If it fails,
   * so does the request. It returns undefined if there is nothing to wait for.
   * @param isFailed true if earlier work of a feature failed, and an error takes the response's place
   */
  commit?: ((status: number, isFailed: boolean) => Promise<void> | undefined) | undefined
  /** Runs the inner middlewares and the handler, for example in an async context. */
  around?: <Result>(next: () => Result) => Result
  /**
   * Called once when the request is over, however it ended, also if the client had gone before the
   * plan was made.
   */
  onFinish?: (end: ResponseEnd) => void
  /** Called in addition if no inner middleware got a turn, because the client had gone before the plan was made. */
  onAbort?: () => void
}

/** What a feature does with a request. */
export type Plan = ReplyPlan | RefusalPlan | PassPlan

/** The plan of a feature that has nothing to do. */
export const passThrough: PassPlan = Object.freeze({})

/**
 * A capability, written once for every framework. It reads an Exchange, returns a Plan and never
 * touches a response.
 */
export interface Feature<Native, Early = unknown> {
  /** Name of the middleware function, for stack traces. */
  readonly name: string
  /** `'skip'` lets requests of `sendInBackground` pass. By default they are handled as any other. */
  readonly onBackground?: 'skip'
  /**
   * Starts commands that need only the request. A pipeline calls it for all members in one tick. It
   * must not throw: failures belong to `handle`. The pipeline observes a promise that it returns,
   * or that is a property of what it returns.
   */
  prepare?(x: Exchange<Native>): Early | undefined
  /** Decides about the request. @param early what `prepare` returned */
  handle(x: Exchange<Native>, early: Early | undefined): Promise<Plan> | Plan
  /** Undoes a prepared write, because an earlier member answered. */
  discard?(early: Early): void
}
