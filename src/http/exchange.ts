import type { Readable } from 'node:stream'
import type { Budget } from '../store/budget.ts'

/** Header fields by name. A list is sent as several fields. */
export type Headers = Record<string, string | readonly string[]>

/** What a feature may know of a request. Every property is lazy and costs nothing until it is read. */
export interface Exchange<Native = unknown> {
  /** Express's and node's `req`, Koa's `ctx`: what a user's own callbacks receive. */
  readonly native: Native
  readonly method: string
  /** The request target as the client sent it, whatever router this is mounted under. */
  readonly url: string
  /** The client's address by the framework's own proxy rules, except that an address which any client could make up is not believed. */
  readonly ip: string
  /** Did the request come over TLS, by the framework's own proxy rules? */
  readonly secure: boolean
  /** The pattern of the matched route, with the mount path before it; undefined where there is none. */
  readonly route: string | undefined
  /** What this request may still spend on the store. */
  readonly budget: Budget
  /** A request header; repeated ones are joined with a comma. `name` is in lower case. */
  header(name: string): string | undefined
}

/** An answer instead of the handler's. */
export interface Reply {
  status: number
  headers?: Headers
  body?: string | Buffer | Readable
}

/** A response as it was at the place where it was looked at. */
export interface Sent {
  status: number
  /** The fields that were set further inside, not those that were there before. */
  headers: Headers
  body: Buffer
}

/** How a response came to its end. */
export interface End {
  /** The status that was sent. */
  status: number
  /** False when the client went away, or the socket broke, before the end. */
  finished: boolean
}

/** What a feature wants done: answer now, or let the request pass and take part in the response. */
export type Plan =
  | { reply: Reply }
  | {
      reply?: undefined
      /** Names to hang on `req`, or on `ctx.state`. */
      expose?: Record<string, unknown>
      /** Names to hang on `req`, or on `ctx` itself, where applications assign to them. */
      own?: Record<string, unknown>
      /**
       * Fields set when the head is sent, so that no error handler can wipe them: the innermost
       * feature's first, so that the outermost has the last word. `Set-Cookie` and list fields append.
       * Must change nothing: a capture further out asks for it, too.
       */
      head?: () => Headers
      /**
       * The whole response as it was at our place, if it ended well and stayed within `limit` bytes;
       * `then` comes before any `seal`. Koa unwinds an error past our place: its answer is not seen.
       */
      body?: { limit: number; then: (sent: Sent) => void }
      /**
       * Work to be done before the client can see the end of the response, all features' side by
       * side; if it fails, so does the request. Not called if the handler never ends the response.
       */
      seal?: (status: number) => Promise<void>
      /** It is over, however it ended; also when the client was gone before the handler's turn. */
      end?: (end: End) => void
    }

/** The plan of a feature that has nothing to do. */
export const pass: Plan = Object.freeze({})

/**
 * A capability, written once for every framework: it reads an Exchange, gives back a Plan and
 * never touches a response.
 */
export interface Feature<Native, Early = unknown> {
  /** Names the middleware function, for stack traces. */
  readonly name: string
  /** Commands that need only the request. A pipeline issues those of all its members in one tick. Must not throw; failures belong to `handle`. */
  prepare?(x: Exchange<Native>): Early | undefined
  handle(x: Exchange<Native>, early: Early | undefined): Promise<Plan> | Plan
  /** Undo a prepared write that an earlier member's answer made pointless. */
  discard?(early: Early): void
}
