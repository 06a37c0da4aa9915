/** Spans for what features report as events. No span has a subject, a key, a handle or a user. */
import { channel } from 'node:diagnostics_channel'
import { context, SpanKind, trace, type Attributes } from '@opentelemetry/api'
import type { EventMap } from '../../events.ts'
import type { SpanSettings } from './span-settings.ts'

/** What is traced of an event. */
interface Traced {
  /** Name of the span. */
  readonly name: string
  /** How long it took, in ms. Undefined: it took no time of its own. */
  readonly ms: number | undefined
  readonly attributes: Attributes
}

type TracedEvents = Pick<
  EventMap,
  'cache' | 'decision' | 'fill' | 'idempotency' | 'lock' | 'session' | 'token' | 'unavailable'
>

const DESCRIBE: {
  readonly [Name in keyof TracedEvents]: (event: TracedEvents[Name]) => Traced
} = {
  cache: ({ ms, name, reason, type }) => traced('cache', name, ms, { type, reason }),
  decision: ({ allowed, feature, ms, name, policy, shadow, source }) =>
    traced(feature, name, ms, {
      type: allowed ? 'allowed' : shadow ? 'shadow' : 'refused',
      source,
      policy,
    }),
  fill: ({ bytes, ms, name, reason, type }) => traced('fill', name, ms, { type, reason, bytes }),
  idempotency: ({ attempt, ms, name, type }) => traced('idempotency', name, ms, { type, attempt }),
  // Names of locks may come from requests.
  lock: ({ feature, type, waitedMs }) => traced(feature, undefined, waitedMs, { type }),
  session: ({ ms, name, type }) => traced('session', name, ms, { type }),
  token: ({ feature, ms, name, type }) => traced(feature, name, ms, { type }),
  unavailable: ({ feature, reason, rule }) =>
    traced('unavailable', undefined, undefined, { feature, reason, rule }),
}

function traced(
  feature: string,
  name: string | undefined,
  ms: number | undefined,
  parts: Readonly<Record<string, string | number | undefined>>,
): Traced {
  const attributes: Attributes = { 'turnpike.feature': feature }
  if (name !== undefined) attributes['turnpike.name'] = name
  for (const [part, value] of Object.entries(parts))
    if (value !== undefined) attributes[`turnpike.${part}`] = value
  return { name: name === undefined ? feature : `${feature} ${name}`, ms, attributes }
}

/**
 * Traces events from now on: as a span where they took time, and otherwise as an event of the span that
 * is active. Returns the function that ends it.
 */
export function traceFeatures({ requireParent, tracer }: SpanSettings): () => void {
  function note({ attributes, ms, name }: Traced): void {
    const parent = trace.getSpan(context.active())
    if (ms === undefined) return void parent?.addEvent(`turnpike ${name}`, attributes)
    if (requireParent && parent === undefined) return
    const end = Date.now()
    const options = { kind: SpanKind.INTERNAL, startTime: end - ms, attributes }
    tracer().startSpan(`turnpike ${name}`, options).end(end)
  }
  const ends = Object.entries(DESCRIBE).map(([event, describe]) => {
    const bus = channel(`turnpike:${event}`)
    const listener = (message: unknown): void => note(describe(message as never))
    bus.subscribe(listener)
    return (): unknown => bus.unsubscribe(listener)
  })
  return () => ends.forEach((end) => end())
}
