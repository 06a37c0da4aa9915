/** What all collections share: names, items, keys, times to live. */
import { durationOption, type Duration } from '../../duration.ts'
import { TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import { requireTenant } from '../../store/subject.ts'
import {
  identifier,
  integer,
  isObject,
  optionError,
  validateOptions,
  type Validator,
} from '../../validate.ts'

/** Options of a call. */
export interface CollectionCallOptions {
  /** Tenant of the data. Required if the application has tenants. */
  tenant?: string
}

/** Names an item: a user, a campaign, a search. At most 256 characters. */
export type ItemId = string | number

/** A call checks the value itself: what is wrong with it is TP_VALUE or TP_KEY. */
const checkedLater: Validator = { expected: 'any', accepts: () => true }

/** Names of the options of a call. @param more besides `tenant` */
export const optionsOfCall = (...more: readonly string[]): Record<string, Validator> =>
  Object.fromEntries(['tenant', ...more].map((option) => [option, checkedLater]))

const TENANT_ONLY = optionsOfCall()

const MAX_ITEM_LENGTH = 256
/** Scripts write times with 13 digits. */
const MAX_TTL_MS = 3652 * 86_400_000

/** One collection of an instance: its keys, and what its messages begin with. */
export class Collection {
  readonly context: ExtensionContext
  readonly name: string
  /** `leaderboard('creators')`. */
  readonly where: string
  readonly #kind: string

  /**
   * @param settings that all collections of this kind and name must agree on
   * @throws TP_OPTION for a name that cannot be part of keys, or is taken with other settings
   */
  constructor(
    context: ExtensionContext,
    kind: string,
    name: string,
    settings: Readonly<Record<string, unknown>>,
  ) {
    if (!identifier.accepts(name))
      throw optionError(`${kind}()`, 'name', name, identifier.expected, identifier.suggest?.(name))
    this.context = context
    this.name = name
    this.where = `${kind}('${name}')`
    this.#kind = kind
    context.claimName({ where: this.where, kind, name, isExplicit: true, settings })
  }

  /**
   * Returns the keys of one value, all in one hash slot. Without parts there is one value for each tenant.
   * @param known the options that the call may have
   * @throws TP_OPTION for options that it cannot have; TP_KEY if the application has tenants and none is named
   */
  keys(
    method: string,
    call: CollectionCallOptions,
    parts: readonly string[],
    subs: readonly string[] = [],
    known: Readonly<Record<string, Validator>> = TENANT_ONLY,
  ): string[] {
    // Most calls have none.
    if (!isObject(call) || Object.keys(call).length > 0)
      validateOptions(`${this.where}.${method}()`, call, known)
    const { keys } = this.context
    const owner = requireTenant(this.context, call.tenant, `${this.where}.${method}()`)
    const tag = keys.tag([this.name, ...parts], owner)
    return [keys.key(this.#kind, tag), ...subs.map((sub) => keys.key(this.#kind, tag, sub))]
  }

  /** @throws TP_KEY for what names no item: '', NaN, an object, more than 256 characters, lone surrogates */
  item(id: unknown, method: string): string {
    if (typeof id === 'number' && Number.isFinite(id)) return String(id)
    const isName = typeof id === 'string' && id !== '' && id.length <= MAX_ITEM_LENGTH
    // Redis would take all lone surrogates for one character.
    if (isName && id.isWellFormed()) return id
    throw new TurnpikeError(
      'TP_KEY',
      `${this.where}.${method}(): the item must be a number, or a string of 1 to ${MAX_ITEM_LENGTH} characters.`,
    )
  }

  /** Returns a string as Redis can hold it, without lone surrogates. @throws TP_VALUE for what is no string */
  term(value: unknown, method: string): string {
    if (typeof value === 'string') return value.toWellFormed()
    throw new TurnpikeError(
      'TP_VALUE',
      `${this.where}.${method}(): the term must be a string. It is ${typeof value}.`,
    )
  }

  /** @throws TP_VALUE for what is no integer within bounds */
  integer(value: unknown, min: number, max: number, method: string, what: string): number {
    const { accepts, expected } = integer(min, max)
    if (accepts(value)) return value as number
    throw new TurnpikeError(
      'TP_VALUE',
      `${this.where}.${method}(): ${what} must be ${expected}. It is ${described(value)}.`,
    )
  }

  /** Returns a duration in whole milliseconds. @throws TP_OPTION */
  ttl(value: Duration, option = 'ttl', min = 1): number {
    const ms = Math.ceil(durationOption(value, this.where, option, min))
    if (ms <= MAX_TTL_MS) return ms
    throw optionError(this.where, option, value, 'at most ten years')
  }
}

/** Returns a value as a message shows it. An object may have no string. */
const described = (value: unknown): string =>
  typeof value === 'object' && value !== null ? 'an object' : String(value).slice(0, 60)
