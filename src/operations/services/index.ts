/** `tp.service()`: how the services that an application needs are. What checks is loaded at the first check. */
import { BoundedMap } from '../../caching/bounded-map.ts'
import type { ExtensionContext } from '../../extension.ts'
import { optionError } from '../../validate.ts'
import {
  serviceSettings,
  type ServiceOptions,
  type ServiceReport,
  type ServiceSettings,
  type ServiceState,
  type ServiceStatus,
} from './options.ts'
import type { ServiceChecks } from './service-checks.ts'

/** A service that an application needs, or a client that reports itself. */
export interface Service {
  /** Its name. */
  readonly name: string
  /**
   * Stores how the service is. All processes see it until `ttl` has passed.
   * @throws TP_OPTION, TP_UNAVAILABLE
   * @example
   * await tp.service('indexer').report({ responseTimeMs: 45, values: { queue_size: 3 } })
   */
  report(report?: ServiceReport): Promise<void>
  /** Ends the checks of this process. `tp.close()` does the same. */
  stop(): void
}

/** The services of an instance. */
export interface ServicesApi {
  /**
   * Checks a service that the application needs: once in each interval, over all processes that call
   * this. Without `check`, the service reports itself.
   * @throws TP_OPTION
   * @example
   * tp.service('payments', { check: (signal) => fetch(url, { signal }).then(({ ok }) => ok) })
   */
  service(name: string, options?: ServiceOptions): Service
  /**
   * Returns the services that were checked or reported within their `ttl`, by any process.
   * @throws TP_UNAVAILABLE
   */
  services(): Promise<ServiceStatus[]>
}

/** What the health check needs of services. */
export interface ServiceStates {
  /** True once a service was named in this process. */
  readonly isUsed: boolean
  /** Returns the last status that this process has heard of. It asks no store. */
  stateOf(name: string): ServiceState | undefined
  /** Returns all services. @throws TP_UNAVAILABLE */
  read(): Promise<ServiceStatus[]>
}

/** Number of services that this process remembers. */
const MAX_KNOWN = 500
/** Number of services that this process checks. */
const MAX_CHECKED = 100

/** Creates the services of an instance. */
export function createServices(context: ExtensionContext): {
  api: ServicesApi
  states: ServiceStates
} {
  const known = new BoundedMap<{ state: ServiceState; until: number }>(MAX_KNOWN)
  const checked = new Set<string>()
  let isUsed = false

  function stateOf(name: string): ServiceState | undefined {
    const found = known.get(name)
    return found && found.until > context.store.monotonic() ? found.state : undefined
  }

  async function read(): Promise<ServiceStatus[]> {
    const { readServices } = await import('./service-operations.ts')
    return await readServices(context)
  }

  async function open(name: string, settings: ServiceSettings): Promise<ServiceChecks> {
    const { ServiceChecks } = await import('./service-checks.ts')
    return new ServiceChecks(context, name, settings, (state) =>
      known.set(name, { state, until: context.store.monotonic() + settings.ttl }),
    )
  }

  function start(name: string, settings: ServiceSettings): () => void {
    claim(checked, name)
    const ending = new AbortController()
    const ended = checkRepeatedly(context, settings.every, ending.signal, () =>
      open(name, settings),
    ).catch(() => {})
    context.onClose(async () => {
      ending.abort()
      await ended
    })
    return () => {
      ending.abort()
      checked.delete(name)
    }
  }

  return {
    states: {
      get isUsed() {
        return isUsed
      },
      stateOf,
      read,
    },
    api: {
      services: read,
      service(name, options = {}) {
        const settings = serviceSettings(name, options)
        const stop = settings.check === undefined ? () => {} : start(name, settings)
        isUsed = true
        const value = (): number => {
          const state = stateOf(name)
          return state === undefined ? Number.NaN : Number(state !== 'error')
        }
        context.events.counts.readFrom('serviceUp', name, value)
        return {
          name,
          report: async (report = {}) => await (await open(name, settings)).report(report),
          stop,
        }
      },
    },
  }
}

/** Notes that a service is checked. @throws TP_OPTION if it is already */
function claim(checked: Set<string>, name: string): void {
  const where = 'tp.service()'
  if (checked.has(name))
    throw optionError(where, 'name', name, 'a name that no other check of this instance has')
  if (checked.size >= MAX_CHECKED)
    throw optionError(where, 'name', name, `one of ${MAX_CHECKED} services at most with a check`)
  checked.add(name)
}

/** Checks a service until the signal fires. Rejects then. */
async function checkRepeatedly(
  { store }: ExtensionContext,
  every: number,
  ending: AbortSignal,
  open: () => Promise<ServiceChecks>,
): Promise<void> {
  // The application may not be ready yet. Its processes do not start together.
  await store.sleep(Math.random() * 1000, ending, true)
  const checks = await open()
  while (!ending.aborted) {
    await checks.check(ending)
    // Soon after the next interval has begun, by Redis's clock.
    const pause = every - (store.now() % every) + every * (0.02 + Math.random() * 0.08)
    await store.sleep(pause, ending, true)
  }
}
