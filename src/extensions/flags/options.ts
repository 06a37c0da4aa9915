/** Options of `flags()`, and its interface. */
import type { Duration } from '../../duration.ts'
import type { UserId } from '../../user-id.ts'

/** What a flag can be: anything that JSON can hold, but null. */
export type FlagValue = boolean | string | number | object

/** The flags of an application, each with the value that applies while no rule is stored. */
export type FlagDefaults = Readonly<Record<string, FlagValue>>

/** The type of a flag's values. */
export type FlagValueOf<Default> = Default extends boolean ? boolean : Default

/** Names of flags that are on or off. */
export type BooleanFlag<Defaults> = {
  [Name in keyof Defaults]: Defaults[Name] extends boolean ? Name : never
}[keyof Defaults] &
  string

/** Whom a flag is evaluated for. */
export interface FlagSubject {
  /** ID of the user. Percentages and variants are stable by it. */
  user?: UserId | undefined
  /** ID of the user's organisation. */
  organisation?: string | number | undefined
  /** The user's plan, for example `'pro'`. */
  plan?: string | undefined
}

/** Options of `flags()`. */
export interface FlagsOptions<Native, Defaults extends FlagDefaults> {
  /**
   * The flags and their defaults. A default applies while no rule is stored, and while Redis was
   * not reached yet. At most 500.
   */
  defaults: Defaults
  /**
   * Returns the ID of the request's user. It is asked at each check, so it may be set by a later middleware.
   * @default `req.session.userId`, `req.user.id` or `ctx.state.user.id`
   */
  user?: (native: Native) => UserId | null | undefined
  /** Returns the ID of the user's organisation. @default none */
  organisation?: (native: Native) => string | number | null | undefined
  /** Returns the user's plan. @default none */
  plan?: (native: Native) => string | null | undefined
  /**
   * How often each process compares its rules with those in Redis. Changes are announced by a
   * message, so this counts only where a message is lost.
   * @default '10s'
   */
  refresh?: Duration
  /** Names the flags in keys. Calls with the same name share the rules. @default 'default' */
  name?: string
}

/**
 * Whom a flag is on for. All conditions of a rule must hold. A rule without conditions holds for
 * every request.
 */
export interface FlagRule<Value = unknown> {
  /**
   * Share of the users, from 0 to 100. A user stays in when it is raised. Without a user it holds
   * only at 100.
   */
  percentage?: number
  /** IDs of users, at most 1000. */
  users?: readonly UserId[]
  /** IDs of organisations, at most 1000. */
  organisations?: readonly (string | number)[]
  /** Names of plans, at most 1000. */
  plans?: readonly string[]
  /** When the rule begins: a Date, a string that Date.parse() reads, or ms since the epoch. */
  from?: Date | string | number
  /** When the rule ends, in the same form. */
  until?: Date | string | number
  /** The flag's value where the rule holds. @default true for flags that are on or off */
  value?: Value
  /**
   * Values of which each user gets one, by weight. Without a user the rule does not hold. At most 20.
   * @example [{ value: 'green', weight: 1 }, { value: 'blue', weight: 3 }]
   */
  variants?: readonly FlagVariant<Value>[]
}

/** One of several values of a rule. */
export interface FlagVariant<Value = unknown> {
  /** The flag's value. */
  value: Value
  /** Its share among the weights of all variants, above 0. */
  weight: number
}

/**
 * What `set()` takes. A list of rules is tried in order, and the first that holds decides. If none
 * holds, a flag is off, and another value is its default. `true` stands for `[{}]`, and `false` for `[]`.
 */
export type FlagSetting<Value> =
  | (Value extends boolean ? boolean : false)
  | FlagRule<Value>
  | readonly FlagRule<Value>[]

/** Options of `set()` and `reset()`. */
export interface FlagChangeOptions {
  /** Who makes the change, for `audit()`. At most 200 characters. @default none */
  by?: string
}

/** A flag as it stands in this process. */
export interface FlagState {
  /** Name of the flag. */
  readonly name: string
  /** Its default, undefined for a flag of which this application knows nothing. */
  readonly default: unknown
  /** The stored rules, with times in ms since the epoch. Undefined: the default applies. */
  readonly rules: readonly FlagRule[] | undefined
}

/** A change of a flag. */
export interface FlagChange {
  /** When, in ms since the epoch. */
  readonly at: number
  /** Name of the flag. */
  readonly flag: string
  /** Who made it, if `by` was given. */
  readonly by: string | undefined
  /** The rules after it. Undefined after `reset()`, and if they are longer than 3 KB. */
  readonly rules: readonly FlagRule[] | undefined
}

/** The flags of one request: `req.flags`, on Koa `ctx.flags`. */
export interface RequestFlags<Defaults extends FlagDefaults = Record<string, any>> {
  /** Returns whether a flag is on. No round trip. */
  enabled(name: BooleanFlag<Defaults>): boolean
  /** Returns a flag's value. It is frozen, because all requests share it. */
  value<Name extends keyof Defaults & string>(name: Name): FlagValueOf<Defaults[Name]>
  /** Returns the values of all flags, for example for the browser. */
  all(): { [Name in keyof Defaults]: FlagValueOf<Defaults[Name]> }
}

/** Feature flags: a middleware and its engine. Checks cost no round trip. */
export interface Flags<Native, Defaults extends FlagDefaults> {
  /** Returns whether a flag is on, outside of a request. */
  enabled(name: BooleanFlag<Defaults>, subject?: FlagSubject): boolean
  /** Returns a flag's value, outside of a request. It is frozen. */
  value<Name extends keyof Defaults & string>(
    name: Name,
    subject?: FlagSubject,
  ): FlagValueOf<Defaults[Name]>
  /** Returns the values of all flags, outside of a request. */
  all(subject?: FlagSubject): { [Name in keyof Defaults]: FlagValueOf<Defaults[Name]> }
  /** Returns the typed flags of a request. The middleware need not be mounted. */
  of(native: Native): RequestFlags<Defaults>
  /**
   * Stores the rules of a flag, in place of earlier ones. This process uses them when it resolves,
   * and others within 100 ms.
   * @throws TP_OPTION for a flag that is not in `defaults`, and rules that cannot be used
   * @throws TP_VALUE if all rules together exceed 60,000 bytes; TP_UNAVAILABLE
   * @example
   * await feature.set('newDashboard', { percentage: 20 }, { by: admin.email })
   * await feature.set('newDashboard', [{ organisations: ['acme'] }, { percentage: 20 }])
   */
  set<Name extends keyof Defaults & string>(
    name: Name,
    setting: FlagSetting<FlagValueOf<Defaults[Name]>>,
    options?: FlagChangeOptions,
  ): Promise<void>
  /** Removes the rules of a flag: its default applies again. @throws TP_OPTION, TP_UNAVAILABLE */
  reset(name: string, options?: FlagChangeOptions): Promise<void>
  /** Returns a flag as it stands in this process. @throws TP_OPTION for a flag that is not in `defaults` */
  get(name: keyof Defaults & string): FlagState
  /** Returns all flags as they stand in this process: those of `defaults`, then others that have rules. */
  list(): FlagState[]
  /**
   * Returns the latest changes, the latest first. Redis keeps 100.
   * @param options.limit most changes. @default 20
   * @throws TP_UNAVAILABLE
   */
  audit(options?: { limit?: number }): Promise<FlagChange[]>
  /**
   * Reads the rules now. Await it at start if the defaults must not apply to the first requests.
   * @throws TP_UNAVAILABLE
   */
  refresh(): Promise<void>
}
