/** A span for each call to Redis, by the semantic conventions for databases. */
import { channel } from 'node:diagnostics_channel'
import { context, SpanKind, SpanStatusCode, trace, type Span } from '@opentelemetry/api'
import type { TracedOperation } from '../../store/operation-trace.ts'
import type { SpanSettings } from './span-settings.ts'

const NAME = 'tracing:turnpike:operation'

/** Creates a span for each call to Redis from now on. Returns the function that ends it. */
export function traceOperations({ requireParent, tracer }: SpanSettings): () => void {
  const spans = new WeakMap<object, Span>()

  function onStart(message: unknown): void {
    const traced = message as TracedOperation
    if (requireParent && trace.getSpan(context.active()) === undefined) return
    const { command, database, host, operation, port } = traced
    const span = tracer().startSpan(`${command} ${operation}`, {
      kind: SpanKind.CLIENT,
      attributes: {
        'db.system.name': 'redis',
        'db.operation.name': command,
        'db.stored_procedure.name': operation,
        ...(database !== undefined && { 'db.namespace': String(database) }),
        ...(host !== undefined && { 'server.address': host }),
        ...(port !== undefined && { 'server.port': port }),
      },
    })
    spans.set(traced, span)
  }
  function onError(message: unknown): void {
    const span = spans.get(message as object)
    const { failure = 'error' } = message as TracedOperation
    span?.setAttribute('error.type', failure)
    span?.setStatus({ code: SpanStatusCode.ERROR, message: failure })
  }
  const onEnd = (message: unknown): void => spans.get(message as object)?.end()

  const listeners = { start: onStart, error: onError, asyncEnd: onEnd }
  for (const [event, listener] of Object.entries(listeners))
    channel(`${NAME}:${event}`).subscribe(listener)
  return () => {
    for (const [event, listener] of Object.entries(listeners))
      channel(`${NAME}:${event}`).unsubscribe(listener)
  }
}
