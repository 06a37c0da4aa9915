import type { Tracer } from '@opentelemetry/api'

/** What spans are created with. */
export interface SpanSettings {
  /** Returns the tracer. The application may set its provider later. */
  tracer(): Tracer
  /** Whether only what happens within another span is traced. */
  readonly requireParent: boolean
}
