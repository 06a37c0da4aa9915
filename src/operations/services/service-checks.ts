/** Checks services: loaded when the first check is due, or at the first report. */
import { isUnavailable, TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import { isObject } from '../../validate.ts'
import {
  areValues,
  isServiceState,
  validateReport,
  type ServiceReport,
  type ServiceSettings,
  type ServiceState,
  type ServiceStatus,
} from './options.ts'
import {
  isOwnField,
  MAX_SERVICES,
  reportCall,
  reportService,
  serviceKey,
  serviceTurnKey,
  takeServiceTurn,
} from './service-operations.ts'

/** What a check has found. */
type Outcome = Pick<ServiceStatus, 'status' | 'reason' | 'values'> & { readonly error?: unknown }

const FEATURE = 'service'

/** Checks one service, and stores what is reported of it. */
export class ServiceChecks {
  readonly #context: ExtensionContext
  readonly #name: string
  readonly #settings: ServiceSettings
  readonly #onStatus: (status: ServiceState) => void

  /** @param onStatus is called with the status whenever this process hears of it */
  constructor(
    context: ExtensionContext,
    name: string,
    settings: ServiceSettings,
    onStatus: (status: ServiceState) => void,
  ) {
    this.#context = context
    this.#name = name
    this.#settings = settings
    this.#onStatus = onStatus
  }

  /** Calls the check if no other process has done so in this interval. It never rejects. */
  async check(ending: AbortSignal): Promise<void> {
    const { store, keys } = this.#context
    const name = this.#name
    try {
      const [turn, known] = await store.run(
        takeServiceTurn,
        [serviceTurnKey(keys, name), serviceKey(keys, name)],
        [this.#settings.every],
      )
      if (isServiceState(known)) this.#onStatus(known)
      if (turn === '0' || ending.aborted) return
      const began = store.monotonic()
      const outcome = await this.#outcome(ending)
      if (outcome === undefined) return
      if (outcome.error !== undefined) this.#fail(outcome.error)
      await this.#store(outcome, turn, Math.round((store.monotonic() - began) * 10) / 10)
    } catch (error) {
      // The log says that Redis is away.
      if (!isUnavailable(error)) this.#fail(error)
    }
  }

  /** Stores what the service says of itself. @throws TP_OPTION, TP_UNAVAILABLE */
  async report(report: ServiceReport): Promise<void> {
    validateReport(report, isOwnField)
    const { responseTimeMs, status = 'healthy', values = {} } = report
    await this.#store({ status, reason: undefined, values }, '', responseTimeMs)
  }

  async #store(
    { reason, status, values }: Outcome,
    turn: string,
    responseTimeMs: number | undefined,
  ): Promise<void> {
    const { store, keys, events } = this.#context
    const name = this.#name
    const parts = { name, reason, responseTimeMs, status, ttlMs: this.#settings.ttl, turn, values }
    const [result, before] = await store.run(reportService, ...reportCall(keys, parts))
    if (result === 'late') return
    if (result === 'full')
      throw new TurnpikeError(
        'TP_OPTION',
        `tp.service(): ${MAX_SERVICES} services are known, and there is no room for another one.`,
      )
    this.#onStatus(status)
    if (before === status) return
    const earlier = isServiceState(before) ? before : undefined
    events.emit('service', { name, status, before: earlier, reason, ms: responseTimeMs })
  }

  /** Calls the check. Returns undefined if the instance is closed meanwhile. */
  async #outcome(ending: AbortSignal): Promise<Outcome | undefined> {
    const { check, timeout } = this.#settings
    const aborting = new AbortController()
    const answered = new AbortController()
    const call = async (): Promise<Outcome> => this.#read(await check!(aborting.signal))
    return await new Promise<Outcome | undefined>((resolve) => {
      const end = (outcome: Outcome | undefined): void => {
        // What comes later is ignored.
        resolve(outcome)
        answered.abort()
        ending.removeEventListener('abort', close)
      }
      function close(): void {
        end(undefined)
        aborting.abort(ending.reason)
      }
      ending.addEventListener('abort', close, { once: true })
      call().then(end, (error: unknown) =>
        end({ status: 'error', reason: 'failed', values: {}, error: error ?? new Error('failed') }),
      )
      this.#context.store.sleep(timeout, answered.signal, true).then(
        () => {
          end({ status: 'error', reason: 'timeout', values: {} })
          aborting.abort(new Error(`no answer within ${timeout} ms`))
        },
        () => {},
      )
    })
  }

  /** Returns what a result means. JavaScript may return anything. */
  #read(result: unknown): Outcome {
    if (result === undefined || result === true)
      return { status: 'healthy', reason: undefined, values: {} }
    if (result === false) return { status: 'error', reason: 'failed', values: {} }
    const { status: given, values = {} } = isObject(result) ? result : {}
    const status = given === 'ok' ? 'healthy' : given
    if (isServiceState(status) && areValues(values, isOwnField))
      return { status, reason: undefined, values: values as Outcome['values'] }
    this.#context.events.warn(
      `tp.service(): the check of ${this.#name} returned something else than nothing, a boolean or { status: 'healthy' | 'degraded' | 'error', values }. It counts as failed.`,
    )
    return { status: 'error', reason: 'failed', values: {} }
  }

  #fail(error: unknown): void {
    this.#context.events.emit('error', { feature: FEATURE, name: this.#name, error })
  }
}
