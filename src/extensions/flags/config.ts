/** Configuration that every process holds: `config()`. */
import { randomUUID } from 'node:crypto'
import { isWithinFill, runFill } from '../../caching/fill-context.ts'
import { callWithin } from '../../clock.ts'
import { ReplicatedDocument } from '../../documents/replicated-document.ts'
import { durationOption, durationValidator, type Duration } from '../../duration.ts'
import { TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import {
  callback,
  identifier,
  optionError,
  optionRuleError,
  validateOptions,
  type Validator,
} from '../../validate.ts'

/** Options of `config()`. */
export interface ConfigOptions<Value> {
  /**
   * Loads the configuration, for example from your database. Each process calls it, once at a time. It
   * must not ask for its own value. After 30 seconds it counts as failed.
   */
  load: () => Value | Promise<Value>
  /** Age from which it is loaded again. The old value is used until the new one is there. @default '5m' */
  ttl?: Duration
  /**
   * How often each process asks Redis whether `reload()` was called. It is announced by a message,
   * so this counts only where a message is lost.
   * @default '10s'
   */
  refresh?: Duration
}

/** A configuration that this process holds. */
export interface Config<Value> {
  /**
   * Returns the configuration: what this process holds, or what `load` returns if it is the first call.
   * All callers share the value, so do not change it.
   * @throws what `load` throws, as long as it never succeeded; TP_VALUE if `load` itself calls it then
   */
  get(): Promise<Value>
  /** What this process holds, undefined before the first load. */
  readonly current: Value | undefined
  /**
   * Loads the configuration again, in all processes.
   * @throws what `load` throws; TP_VALUE if `load` itself calls it; TP_UNAVAILABLE if other processes
   * could not be told
   */
  reload(): Promise<Value>
}

const OPTIONS: Record<string, Validator> = {
  load: callback,
  ttl: durationValidator,
  refresh: durationValidator,
}

/** @throws TP_OPTION for a name or option that cannot be used */
export function createConfig<Value>(
  context: ExtensionContext,
  name: string,
  options: ConfigOptions<Value>,
): Config<Value> {
  if (!identifier.accepts(name))
    throw optionError('config()', 'name', name, identifier.expected, identifier.suggest?.(name))
  const where = `config('${name}')`
  validateOptions(where, options, OPTIONS)
  const { load, ttl = '5m', refresh = '10s' } = options
  if (load === undefined)
    throw optionError(where, 'load', undefined, 'a function that returns the configuration')
  context.claimName({ where, kind: 'config', name, isExplicit: true, settings: { ttl, refresh } })
  const settings = {
    where,
    load,
    ttlMs: durationOption(ttl, where, 'ttl'),
    refreshMs: durationOption(refresh, where, 'refresh', 10),
  }
  const held = context.once(`config ${name}`, () => new HeldConfig<Value>(context, name, settings))
  if (held.load !== load)
    throw optionRuleError(
      where,
      'load',
      load,
      `Another config() has the name '${name}' and another load function. Create it once, and use it in both places.`,
    )
  return {
    get: () => held.get(),
    get current() {
      return held.value
    },
    reload: () => held.reload(),
  }
}

interface ConfigSettings<Value> {
  readonly where: string
  readonly load: () => Value | Promise<Value>
  readonly ttlMs: number
  readonly refreshMs: number
}

/** Pause after a load that failed, in ms. */
const RETRY_MS = 1_000
/** Longest time for a load, in ms. All callers of the process wait for it. */
const LOAD_TIMEOUT = 30_000
/** Loads in a row, if `reload()` is called during each. */
const MAX_LOADS = 3

class HeldConfig<Value> {
  readonly load: () => Value | Promise<Value>
  value: Value | undefined
  readonly #context: ExtensionContext
  readonly #name: string
  readonly #where: string
  readonly #ttlMs: number
  /** Its content does not matter: a new version means that the value is to be loaded again. */
  readonly #reloads: ReplicatedDocument<unknown>
  #isLoaded = false
  /** When the value is to be loaded again, on the clock that does not jump. */
  #staleAt = 0
  #loading: Promise<Value> | undefined
  /** True if the load in progress may read what is too old. */
  #isOutdated = false
  /** The content that this process has written last. */
  #announced = ''

  constructor(
    context: ExtensionContext,
    name: string,
    { where, load, ttlMs, refreshMs }: ConfigSettings<Value>,
  ) {
    this.load = load
    this.#context = context
    this.#name = name
    this.#where = where
    this.#ttlMs = ttlMs
    this.#reloads = new ReplicatedDocument<unknown>(context, {
      name: `config-${name}`,
      where,
      initial: '',
      parse: (json) => json,
      refreshMs,
      onChange: (id) => {
        if (id !== this.#announced) this.#onReload()
      },
    })
  }

  get(): Promise<Value> {
    if (!this.#isLoaded) return isWithinFill(this, this.#name) ? this.#refuse() : this.#begin()
    if (this.#context.store.monotonic() >= this.#staleAt) this.#loadInBackground()
    return Promise.resolve(this.value as Value)
  }

  reload(): Promise<Value> {
    return isWithinFill(this, this.#name) ? this.#refuse() : this.#reload()
  }

  async #reload(): Promise<Value> {
    const id = randomUUID()
    this.#announced = id
    const announcing = this.#reloads.update(() => id, '')
    // The value is loaded also where the others cannot be told.
    announcing.catch(() => {})
    this.#isOutdated = true
    const value = await this.#begin()
    await announcing
    return value
  }

  /** Another process has called `reload()`. */
  #onReload(): void {
    this.#isOutdated = true
    if (this.#isLoaded) this.#loadInBackground()
  }

  #loadInBackground(): void {
    this.#begin().catch((error: unknown) => {
      this.#context.events.emit('error', { feature: 'config', name: this.#name, error })
    })
  }

  /** Refuses a call by the load in progress. It would wait for itself, and with it all callers. */
  #refuse(): Promise<never> {
    const message = `${this.#where}: load asks for its own value. It would wait for itself.`
    const refusal = Promise.reject(new TurnpikeError('TP_VALUE', message))
    // A load that does not await it has a result all the same.
    refusal.catch(() => {})
    return refusal
  }

  /** Loads the value, or joins the load in progress. */
  #begin(): Promise<Value> {
    // Later, so that `#loading` is set before `load` runs. Otherwise two loads could run at a time.
    return (this.#loading ??= Promise.resolve()
      .then(() => this.#load())
      .finally(() => (this.#loading = undefined)))
  }

  /** Calls `load` so that its own calls are recognised. */
  async #run(): Promise<Value> {
    const running = { isOver: false, isOf: (owner: object) => owner === this && !running.isOver }
    try {
      const { store } = this.#context
      return await callWithin(store, LOAD_TIMEOUT, `${this.#where}: load`, () =>
        runFill(running, () => this.load()),
      )
    } finally {
      running.isOver = true
    }
  }

  async #load(): Promise<Value> {
    const { store } = this.#context
    try {
      for (let i = 1; ; i++) {
        this.#isOutdated = false
        const value = await this.#run()
        if (this.#isOutdated && i < MAX_LOADS) continue
        this.value = value
        this.#isLoaded = true
        this.#staleAt = this.#isOutdated ? 0 : store.monotonic() + this.#ttlMs
        return value
      }
    } catch (error) {
      this.#staleAt = store.monotonic() + Math.min(RETRY_MS, this.#ttlMs)
      throw error
    }
  }
}
