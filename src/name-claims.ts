/** Which names an instance has given away: things that share a name share their state. */
import type { EventBus } from './events.ts'
import { OptionError } from './validate.ts'

/** A thing that asks for a name. */
export interface NameClaim {
  /** The call that creates the thing, for messages: `tp.rateLimit()`. */
  readonly where: string
  /** What the thing is, for messages: `rate limit`. Names of different kinds do not meet. */
  readonly kind: string
  readonly name: string
  /** True if the application chose the name. False if it is a default or derived from options. */
  readonly isExplicit: boolean
  /**
   * Options that all things of this name must agree on, because they share state. Functions cannot
   * be compared, so all of them count as equal.
   */
  readonly settings: Readonly<Record<string, unknown>>
}

interface Claimed {
  readonly isExplicit: boolean
  readonly settings: Readonly<Record<string, string>>
}

/** Names beyond these are not checked. A name made from a client's input must not fill the memory. */
const MAX_NAMES = 10_000

/** The names of one instance, or of one tenant of it. */
export class NameClaims {
  readonly #events: EventBus
  readonly #claimed = new Map<string, Claimed>()

  constructor(events: EventBus) {
    this.#events = events
  }

  /**
   * Claims a name. Reports once that two things share a name that at least one of them did not choose.
   * @throws TP_OPTION if the name is taken with other settings, and an application chose it
   */
  claim({ where, kind, name, isExplicit, settings }: NameClaim): void {
    const id = `${kind}\n${name}`
    const described = Object.fromEntries(
      Object.entries(settings).flatMap(([option, value]) =>
        value === undefined ? [] : [[option, describe(value)]],
      ),
    )
    const earlier = this.#claimed.get(id)
    if (earlier === undefined) {
      if (this.#claimed.size < MAX_NAMES) this.#claimed.set(id, { isExplicit, settings: described })
      return
    }
    const areBothExplicit = earlier.isExplicit && isExplicit
    const option = differenceOf(earlier.settings, described)
    if (option !== undefined && (earlier.isExplicit || isExplicit)) {
      throw new OptionError(
        `${where}: the name '${name}' belongs to a ${kind} with another ${option}: ${earlier.settings[option] ?? 'none'} there, ${described[option] ?? 'none'} here. Things of one name share their state. Give each its own name, or create it once and use it in both places.`,
        'name',
        name,
        `a name that no ${kind} with other settings has`,
        undefined,
      )
    }
    if (!areBothExplicit) {
      this.#events.warn(
        `${where}: two ${kind}s have the name '${name}', which was derived from their options, and share their state. Give each its own name: { name: '…' }.`,
      )
    }
  }
}

/** Returns the first option in which two things differ. */
function differenceOf(
  a: Readonly<Record<string, string>>,
  b: Readonly<Record<string, string>>,
): string | undefined {
  return Object.keys({ ...a, ...b }).find((option) => a[option] !== b[option])
}

/** Returns a value as it is compared and shown. */
function describe(value: unknown): string {
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'object' && value !== null)
    return JSON.stringify(value, (_key, each: unknown) =>
      typeof each === 'function' || typeof each === 'bigint' ? typeof each : each,
    )
  return typeof value === 'string' ? `'${value}'` : String(value)
}
