/** How features turn requests away: one shape for every refusal. */
import { TurnpikeError, type ErrorCode } from '../errors.ts'

/** Header fields by name. A list is sent as several fields. */
type Fields = Record<string, string | readonly string[]>

/** Why a request is turned away. Clients see it, so it contains no secrets. */
export interface Refusal {
  /** HTTP status, for example 429. */
  readonly status: number
  /** Reason for programs. docs/errors.md has a section for each. */
  readonly code: ErrorCode
  /** Kind of problem in a few words, the same each time. @default the status' own phrase */
  readonly title?: string | undefined
  /** What is wrong with this request, and what the client can do. */
  readonly detail: string
  /** URI of the kind of problem (RFC 9457, 3.1.1). @default 'about:blank' */
  readonly type?: string | undefined
  /** Extension members of the problem document (RFC 9457, 3.2). */
  readonly members?: Readonly<Record<string, unknown>> | undefined
  /** Header fields of the response, also if the application writes its body. */
  readonly headers?: Fields | undefined
  /** Time until a retry can succeed, in milliseconds. Sent as Retry-After, in whole seconds. */
  readonly retryAfterMs?: number | undefined
}

/** The application's own reply to a refused request. */
export interface RefusalReply {
  /** HTTP status. @default the refusal's */
  status?: number | undefined
  /** Header fields, sent beside the refusal's own. One of the same name replaces it. */
  headers?: Fields | undefined
  /** Body of the response. An object is sent as JSON. @default no body */
  body?: string | Uint8Array | object | null | undefined
}

/**
 * Phrases the reply to a refused request. Returns undefined for the default reply.
 * @param native Express's or node's `req`, Koa's `ctx`
 * @param refusal what the feature would have replied
 */
export type ReplyFunction<Native, Details extends Refusal = Refusal> = (
  native: Native,
  refusal: Details,
) => RefusalReply | undefined | Promise<RefusalReply | undefined>

/** A refused request, as an error for the framework's error handler (`refusals: 'next'`). */
export class RefusalError extends TurnpikeError {
  override readonly name: string = 'RefusalError'
  readonly refusal: Refusal

  constructor(refusal: Refusal) {
    super(refusal.code, refusal.detail, {
      status: refusal.status,
      expose: true,
      headers: refusalHeaders(refusal),
    })
    this.refusal = refusal
  }
}

/** Returns the refusal for a feature that fails closed: 503, and a retry after 2 s. */
export const unavailableRefusal = (detail: string): Refusal => ({
  status: 503,
  code: 'TP_UNAVAILABLE',
  detail,
  retryAfterMs: 2_000,
})

/** Returns the header fields of a refusal, Retry-After included. */
export function refusalHeaders({ headers, retryAfterMs }: Refusal): Fields {
  if (retryAfterMs === undefined || !Number.isFinite(retryAfterMs)) return { ...headers }
  return { ...headers, 'Retry-After': String(Math.max(1, Math.ceil(retryAfterMs / 1000))) }
}
