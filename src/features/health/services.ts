/** Services of `tp.service()` in the report of `tp.health()`. */

/** A service as the report shows it, with the numbers that it was reported with. */
export interface HealthService {
  /** `healthy`, `degraded` or `error`. */
  status: string
  /** When it was last checked or reported, in the form of ISO 8601. */
  last_check: string
  /** How long it took to respond, in milliseconds. */
  response_time_ms?: number
  /** Share of its last 100 checks and reports that found it in the state `error`, from 0 to 1. */
  error_rate: number
  [value: string]: string | number | undefined
}

/** What the report shows of services. */
export interface ServiceSource {
  /** True once a service was named in this process. */
  readonly isUsed: boolean
  /** Returns the last status that this process has heard of. It asks no store. */
  stateOf(name: string): string | undefined
  read(): Promise<
    {
      readonly name: string
      readonly status: string
      readonly lastCheck: number
      readonly responseTimeMs: number | undefined
      readonly errorRate: number
      readonly values: Readonly<Record<string, number>>
    }[]
  >
}

/** Returns the services for the report. */
export async function reportedServices(
  source: ServiceSource,
): Promise<Readonly<Record<string, HealthService>>> {
  const services = await source.read()
  return Object.fromEntries(
    services.map(({ errorRate, lastCheck, name, responseTimeMs, status, values }) => [
      name,
      {
        ...values,
        status,
        last_check: dateOf(lastCheck),
        ...(responseTimeMs !== undefined && { response_time_ms: responseTimeMs }),
        error_rate: errorRate,
      },
    ]),
  )
}

/** Returns a time in the form of ISO 8601. Anyone with access to Redis can write any number. */
const dateOf = (ms: number): string =>
  Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : 'unknown'
