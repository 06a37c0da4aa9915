/** `turnpike/otel`: spans of OpenTelemetry, named by operation, without arguments. See docs/tracing.md. */
export {
  ioredisOptions,
  TurnpikeInstrumentation,
  type InstrumentationOptions,
  type IoredisTracingOptions,
} from './extensions/otel/index.ts'
