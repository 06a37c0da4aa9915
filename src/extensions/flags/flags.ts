/** Feature flags: `flags()`. */
import { durationOption, durationValidator } from '../../duration.ts'
import type { ExtensionContext } from '../../extension.ts'
import { userIdString } from '../../user-id.ts'
import {
  callback,
  closestMatch,
  identifier,
  integer,
  isObject,
  optionError,
  validateOptions,
  type Validator,
} from '../../validate.ts'
import { FlagRules, MAX_FLAGS } from './flag-rules.ts'
import type {
  FlagChange,
  FlagChangeOptions,
  FlagDefaults,
  Flags,
  FlagsOptions,
  FlagState,
  FlagSubject,
  RequestFlags,
} from './options.ts'
import { frozen, isJson, isOfKind, rulesOf, type StoredRule, type SubjectReader } from './rules.ts'

const WHERE = 'flags()'

const OPTIONS: Record<string, Validator> = {
  defaults: {
    expected: `an object of at most ${MAX_FLAGS} flags, with values that JSON can hold`,
    accepts: (value) =>
      isObject(value) &&
      Object.keys(value).length <= MAX_FLAGS &&
      Object.values(value).every(isJson),
  },
  user: callback,
  organisation: callback,
  plan: callback,
  refresh: durationValidator,
  name: identifier,
}

const CHANGE_OPTIONS: Record<string, Validator> = {
  by: {
    expected: 'a string of at most 200 characters',
    accepts: (value) => typeof value === 'string' && value.length <= 200,
  },
}

/** Rules longer than this are left out of the record of a change, in characters of JSON. */
const MAX_RECORDED = 3_000

/** @throws TP_OPTION for an option that cannot be used */
export function createFlags<Native, Middleware extends object, Defaults extends FlagDefaults>(
  context: ExtensionContext<Native, Middleware>,
  options: FlagsOptions<Native, Defaults>,
): Middleware & Flags<Native, Defaults> {
  validateOptions(WHERE, options, OPTIONS)
  if (options.defaults === undefined)
    throw optionError(WHERE, 'defaults', undefined, 'an object like { newDashboard: false }')
  const { name = 'default', refresh = '10s' } = options
  const refreshMs = durationOption(refresh, WHERE, 'refresh', 10)
  context.claimName({ where: WHERE, kind: 'flags', name, isExplicit: true, settings: { refresh } })
  const rules = context.once(`flags ${name}`, () => new FlagRules(context, name, refreshMs))
  const engine = new FlagEngine(context, rules, options)
  const middleware = context.mount({
    name: 'flags',
    handle: (x) => ({ assign: { flags: engine.of(x.native) } }),
  })
  return Object.assign(middleware, engine.api)
}

class FlagEngine<Native, Defaults extends FlagDefaults> {
  readonly #context: ExtensionContext<Native>
  readonly #rules: FlagRules
  readonly #options: FlagsOptions<Native, Defaults>
  readonly #defaults: ReadonlyMap<string, unknown>

  constructor(
    context: ExtensionContext<Native>,
    rules: FlagRules,
    options: FlagsOptions<Native, Defaults>,
  ) {
    this.#context = context
    this.#rules = rules
    this.#options = options
    const defaults = Object.entries(options.defaults)
    for (const [flag] of defaults) {
      if (identifier.accepts(flag)) continue
      const { expected, suggest } = identifier
      throw optionError(WHERE, 'the name of a flag', flag, expected, suggest?.(flag))
    }
    this.#defaults = new Map(defaults.map(([flag, value]) => [flag, frozen(value)]))
  }

  get api(): Flags<Native, Defaults> {
    const { document } = this.#rules
    return {
      enabled: (name, subject) => this.valueFor(name, this.#readerOf(subject)) === true,
      value: (name, subject) => this.valueFor(name, this.#readerOf(subject)) as never,
      all: (subject) => this.allFor(this.#readerOf(subject)) as never,
      of: (native) => this.of(native),
      set: async (name, setting, options = {}) => {
        const standard = this.#defaultOf(name, 'flags().set()')
        const where = `flags().set('${name}')`
        validateOptions(where, options, CHANGE_OPTIONS)
        await this.#change(name, rulesOf(where, setting, standard), options)
      },
      reset: async (name, options = {}) => {
        const where = 'flags().reset()'
        validateOptions(where, options, CHANGE_OPTIONS)
        if (!this.#rules.stored.has(name)) this.#defaultOf(name, where)
        await this.#change(name, undefined, options)
      },
      get: (name) => this.#state(name, this.#defaultOf(name, 'flags().get()')),
      list: () => this.#list(),
      audit: async (options = {}) => {
        validateOptions('flags().audit()', options, { limit: integer(1, 100) })
        return (await document.changes(options.limit ?? 20)).flatMap(changeOf)
      },
      refresh: async () => await document.refresh(),
    }
  }

  of(native: Native): RequestFlags<Defaults> {
    const subject = new RequestSubject(this.#context, this.#options, native)
    return {
      enabled: (name) => this.valueFor(name, subject) === true,
      value: (name) => this.valueFor(name, subject) as never,
      all: () => this.allFor(subject) as never,
    }
  }

  /** Returns a flag's value. Of a name that is no flag it is undefined, so it counts as off. */
  valueFor(flag: string, subject: SubjectReader): unknown {
    const standard = this.#defaults.get(flag)
    if (standard === undefined) return this.#warnOfUnknown(flag)
    const rules = this.#rules.compiled(flag)
    if (rules === undefined) return standard
    const isBoolean = typeof standard === 'boolean'
    for (const rule of rules) {
      const outcome = rule.decide(subject, this.#context.store)
      if (outcome === undefined) continue
      // Another version of the application may have stored a value of another type.
      if (!isOfKind(outcome.value, standard)) return standard
      return outcome.value ?? (isBoolean ? true : standard)
    }
    return isBoolean ? false : standard
  }

  /** Never throws: a check stands in the middle of a request. */
  #readerOf(subject: FlagSubject | undefined): SubjectReader {
    if (subject === undefined || subject === null) return UNKNOWN
    const { events } = this.#context
    if (typeof subject !== 'object')
      events.warn(
        'flags(): a check was given a subject that is no object, and counts as for an unknown user. Pass { user: id }.',
      )
    const { user, organisation, plan } = subject
    return {
      user: nameOf('user', user, events),
      organisation: nameOf('organisation', organisation, events),
      plan: nameOf('plan', plan, events),
    }
  }

  allFor(subject: SubjectReader): Record<string, unknown> {
    const names = [...this.#defaults.keys()]
    return Object.fromEntries(names.map((flag) => [flag, this.valueFor(flag, subject)]))
  }

  #warnOfUnknown(flag: unknown): undefined {
    const names = [...this.#defaults.keys()]
    const near = typeof flag === 'string' ? closestMatch(flag.slice(0, 40), names) : undefined
    const hint = near === undefined ? 'Add it to defaults.' : `Did you mean ${near}?`
    this.#context.events.warn(
      `flags(): a flag was asked for that is not in defaults, and counts as off. ${hint}`,
    )
  }

  /** @throws TP_OPTION for a flag that is not in `defaults` */
  #defaultOf(flag: unknown, where: string): unknown {
    const standard = this.#defaults.get(flag as string)
    if (standard !== undefined) return standard
    const names = [...this.#defaults.keys()]
    const near = typeof flag === 'string' ? closestMatch(flag.slice(0, 40), names) : undefined
    throw optionError(where, 'the flag', flag, 'one of defaults', near && `'${near}'`)
  }

  async #change(
    flag: string,
    rules: readonly StoredRule[] | undefined,
    { by }: FlagChangeOptions,
  ): Promise<void> {
    const isShort = rules !== undefined && JSON.stringify(rules).length <= MAX_RECORDED
    const record = { flag, ...(by !== undefined && { by }), ...(isShort && { rules }) }
    await this.#rules.document.update((all) => {
      const { [flag]: _, ...others } = all
      if (rules === undefined) return others
      if (Object.keys(others).length >= MAX_FLAGS) {
        const expected = `set for at most ${MAX_FLAGS} flags. Call reset() for those that are not used any more`
        throw optionError(WHERE, 'rules', undefined, expected)
      }
      return { ...others, [flag]: rules }
    }, record)
  }

  #state(name: string, standard: unknown): FlagState {
    return { name, default: standard, rules: this.#rules.stored.get(name) }
  }

  #list(): FlagState[] {
    const others = [...this.#rules.stored.keys()].filter((flag) => !this.#defaults.has(flag))
    return [...this.#defaults.keys(), ...others].map((flag) =>
      this.#state(flag, this.#defaults.get(flag)),
    )
  }
}

/** The sender of a request, read again at each check: authentication may happen in between. */
class RequestSubject<Native> implements SubjectReader {
  readonly #context: ExtensionContext<Native>
  readonly #options: Pick<FlagsOptions<Native, FlagDefaults>, 'user' | 'organisation' | 'plan'>
  readonly #native: Native

  constructor(
    context: ExtensionContext<Native>,
    options: Pick<FlagsOptions<Native, FlagDefaults>, 'user' | 'organisation' | 'plan'>,
    native: Native,
  ) {
    this.#context = context
    this.#options = options
    this.#native = native
  }

  get user(): string | undefined {
    const { user } = this.#options
    const id = user ? user(this.#native) : this.#context.identityOf(this.#native).userId
    return nameOf('user', id, this.#context.events)
  }

  get organisation(): string | undefined {
    return nameOf('organisation', this.#options.organisation?.(this.#native), this.#context.events)
  }

  get plan(): string | undefined {
    return nameOf('plan', this.#options.plan?.(this.#native), this.#context.events)
  }
}

const UNKNOWN: SubjectReader = { user: undefined, organisation: undefined, plan: undefined }

/** Returns an ID as rules compare it, undefined for what is none. */
function nameOf(
  property: string,
  value: unknown,
  events: Pick<ExtensionContext['events'], 'warn'>,
): string | undefined {
  const name = userIdString(value)
  if (name === undefined && typeof value === 'object' && value !== null)
    events.warn(
      `flags(): ${property} is an object, and counts as none. Give a string or a number, and no promise.`,
    )
  return name
}

/** Returns a record of a change. What another program wrote is left out. */
function changeOf({ at, record }: { at: number; record: unknown }): FlagChange[] {
  if (!isObject(record) || typeof record['flag'] !== 'string') return []
  const { flag, by, rules } = record
  const isList = Array.isArray(rules)
  return [
    {
      at,
      flag,
      by: typeof by === 'string' ? by : undefined,
      rules: isList ? (rules as StoredRule[]) : undefined,
    },
  ]
}
