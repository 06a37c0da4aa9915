/** Traces for OpenTelemetry: what its SDKs switch on and off, and options for an instrumentation of ioredis. */
import { trace, type Span, type Tracer, type TracerProvider } from '@opentelemetry/api'
import { boolean, validateOptions } from '../../validate.ts'
import { commandText } from './command-text.ts'
import { traceFeatures } from './feature-spans.ts'
import { traceOperations } from './operation-spans.ts'

/** Options of `TurnpikeInstrumentation`. */
export interface InstrumentationOptions {
  /**
   * Whether it is switched on at once. `registerInstrumentations()` does that otherwise.
   * @default true
   */
  enabled?: boolean
  /**
   * Whether only what happens within another span is traced, for example within that of a request.
   * Otherwise reports and renewals of leases are traces of their own.
   * @default true
   */
  requireParent?: boolean
  /**
   * Whether decisions, cache lookups, fills, sessions, idempotency keys, locks and tokens are traced
   * besides the calls to Redis.
   * @default true
   */
  features?: boolean
}

const NAME = 'turnpike'

/**
 * Traces turnpike: all instances of the process. Pass it to an SDK of OpenTelemetry, or create it after
 * the tracer provider was registered.
 * @example
 * const sdk = new NodeSDK({ instrumentations: [new TurnpikeInstrumentation()] })
 */
export class TurnpikeInstrumentation {
  /** Name of the tracer. */
  readonly instrumentationName: string = NAME
  /** Version of what it traces. */
  readonly instrumentationVersion: string = '1'
  #options: InstrumentationOptions
  #provider: TracerProvider | undefined
  #ends: (() => void)[] = []

  /** @throws TP_OPTION */
  constructor(options: InstrumentationOptions = {}) {
    this.#options = validated(options)
    if (options.enabled !== false) this.enable()
  }

  /** Begins to trace. */
  enable(): void {
    if (this.#ends.length > 0) return
    const { features = true, requireParent = true } = this.#options
    const settings = { requireParent, tracer: () => this.#tracer() }
    this.#ends.push(traceOperations(settings))
    if (features) this.#ends.push(traceFeatures(settings))
  }

  /** Ends it. */
  disable(): void {
    for (const end of this.#ends.splice(0)) end()
  }

  /** Sets where spans go. Default: the global provider. */
  setTracerProvider(provider: TracerProvider): void {
    this.#provider = provider
  }

  /** Does nothing: metrics come from `tp.metrics().producer()`. */
  setMeterProvider(_provider: unknown): void {}

  /** Returns the options. */
  getConfig(): InstrumentationOptions {
    return { enabled: true, ...this.#options }
  }

  /** Sets the options. @throws TP_OPTION */
  setConfig(options: InstrumentationOptions): void {
    this.#options = validated(options)
    if (this.#ends.length === 0) return
    this.disable()
    this.enable()
  }

  #tracer(): Tracer {
    return (this.#provider ?? trace).getTracer(NAME)
  }
}

function validated(options: InstrumentationOptions): InstrumentationOptions {
  validateOptions('new TurnpikeInstrumentation()', options, {
    enabled: boolean,
    requireParent: boolean,
    features: boolean,
  })
  return { ...options }
}

/** What `@opentelemetry/instrumentation-ioredis` takes, as far as it is set here. */
export interface IoredisTracingOptions {
  /** Returns what a span shows of a command: its name, and that of a script. */
  dbStatementSerializer(command: string, args: readonly unknown[]): string
  /** Names the span of a script. */
  requestHook(span: Span, call: { cmdName: string; cmdArgs: readonly unknown[] }): void
}

/**
 * Returns options for `@opentelemetry/instrumentation-ioredis`. Spans of scripts are named by operation,
 * and no span shows an argument. By themselves they show digests and, depending on the instrumentation,
 * session data and cached responses.
 * @example
 * new IORedisInstrumentation({ ...ioredisOptions() })
 */
export function ioredisOptions(): IoredisTracingOptions {
  return {
    dbStatementSerializer: commandText,
    requestHook(span, { cmdName, cmdArgs }) {
      span.updateName(commandText(cmdName, cmdArgs))
    },
  }
}
