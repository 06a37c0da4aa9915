/**
 * Publishes each call to Redis to `tracing:turnpike:operation`, as TracingChannel does. Subscribers get
 * names, and never keys, arguments or replies.
 */
import { channel } from 'node:diagnostics_channel'
import { isUnavailable, TurnpikeError } from '../errors.ts'

/** A call to Redis, as subscribers get it. It is the same object from start to end. */
export interface TracedOperation {
  /** Name of the store, as in events. */
  readonly store: string
  /** Name of the operation: `locks.acquire`. */
  readonly operation: string
  /** Command of Redis: EVALSHA for scripts. */
  readonly command: string
  /** Host of the server. Undefined for Clusters, Sentinels and Unix sockets. */
  readonly host: string | undefined
  readonly port: number | undefined
  /** Number of the database. */
  readonly database: number | undefined
  /** Why it failed: the reason of TP_UNAVAILABLE, or another code. Set before `error` is published. */
  failure?: string
}

const NAME = 'tracing:turnpike:operation'
const start = channel(`${NAME}:start`)
const end = channel(`${NAME}:end`)
const asyncStart = channel(`${NAME}:asyncStart`)
const asyncEnd = channel(`${NAME}:asyncEnd`)
const failed = channel(`${NAME}:error`)

/** Returns true if anything subscribes. Ask before you describe a call. */
export const isTraced = (): boolean => start.hasSubscribers

/** Runs a call, and publishes its start and its end. Returns what `run` returns. */
export function traceOperation<Reply>(
  traced: TracedOperation,
  run: () => Promise<Reply>,
): Promise<Reply> {
  start.publish(traced)
  const reply = run()
  end.publish(traced)
  const settle = (): void => {
    asyncStart.publish(traced)
    asyncEnd.publish(traced)
  }
  reply.then(settle, (error: unknown) => {
    traced.failure = failureOf(error)
    failed.publish(traced)
    settle()
  })
  return reply
}

/** Returns a word for an error. Its message may contain what Redis was sent. */
function failureOf(error: unknown): string {
  if (isUnavailable(error)) return error.reason
  return error instanceof TurnpikeError ? error.code : 'error'
}
