/** What an algorithm consists of. Each has a folder, and registry.ts lists them. */
import type { StateLayout } from './layout.ts'

/** One way to count uses: its script for Redis, and the same in this process. */
export interface LimitAlgorithm<Name extends string = string, State = any> {
  /** Value of the option `algorithm`. */
  readonly name: Name
  /** Stands for the name in keys and in script arguments. One letter, because each key has it. */
  readonly code: string
  /** True if a policy may have a `burst`. */
  readonly hasBurst: boolean
  /** True if a window may be a day or a month of a calendar. */
  readonly hasCalendar: boolean
  /** Returns the one number that the algorithm needs besides limit, window and cost. */
  parameterOf(policy: ParameterSource): number | undefined
  /**
   * Returns how a policy counts while processes may hold units of it, for up to `lease` ms. What was
   * charged at the beginning of a lease may be used until its end.
   */
  underLease(policy: LeasedPolicy, lease: number): LeaseTerms
  /** True if a lease must end with the period in which it was granted. */
  readonly endsLeases: boolean
  /**
   * True if a state holds leased units apart from used ones, until their process says how many it has
   * used. Otherwise they are charged when they are leased.
   */
  readonly holdsLeases: boolean
  readonly script: AlgorithmScript
  /**
   * Opens a state in the in-process engine. Returns undefined if the call was made for a calendar
   * period that is not the current one.
   */
  createMeter(call: PolicyCall, state: State | undefined): Meter<State> | undefined
}

/** What an algorithm can take its parameter from. */
export interface ParameterSource {
  readonly limit: number
  readonly burst: number | undefined
  /** Start of the calendar period in ms since the epoch. Undefined without a calendar. */
  readonly periodStart: number | undefined
}

/** A policy as far as leases depend on it. */
export type LeasedPolicy = Omit<FastPolicy, 'cost'>

/** How a policy counts while units of it may be leased. */
export interface LeaseTerms {
  /** In ms. */
  readonly window: number
  /** Units of which leases are a share. 0: none may be leased. */
  readonly quota: number
}

/** The part of a window that a lease takes at most. */
export const MAX_LEASE_PART: number = 1 / 8

/** The parts of a script that belong to one algorithm. operations/apply.lua says what surrounds them. */
export interface AlgorithmScript {
  /** Names that stand for formats and sizes in all parts. STATE is the format of a state without its header. */
  readonly layout: StateLayout
  /** Functions that `inspect` and `apply` call, or an empty string. */
  readonly functions: string
  /** Reads a policy's state and sets `exceeds`. */
  readonly inspect: string
  /** Local variables of `inspect` that `apply` needs. */
  readonly carried: readonly string[]
  /** Charges or refunds, and works out what is stored and what is replied. */
  readonly apply: string
  /** The usual case alone: the policy admits the request, and nothing is blocked. */
  readonly fast: FastScript
}

/**
 * The short way for policies that are known in advance. Names in capitals stand for the policy's
 * constants. Names that end in `_` get the policy's number.
 */
export interface FastScript {
  /** Reads the state. `break` leaves everything to the full script, so it must write nothing. */
  readonly inspect: string
  /** Charges, and sets `remaining_` and `reset_`. */
  readonly apply: string
  /** Returns constants besides LIMIT, WINDOW and COST, or undefined if the policy never admits its cost. */
  constantsOf(policy: FastPolicy): Readonly<Record<string, number>> | undefined
}

/** A policy as far as it is known before a request. */
export interface FastPolicy {
  readonly limit: number
  readonly window: number
  readonly cost: number
  readonly parameter: number | undefined
}

/** What one call asks of one policy. Times are in ms. */
export interface PolicyCall extends FastPolicy {
  readonly now: number
  /** Set if the charged units are leased, or leased ones are given back: time of a lease. */
  readonly lease?: number | undefined
  /** Set if leased units are given back: how many were leased. The cost is what was not used. */
  readonly granted?: number | undefined
}

/**
 * Units that a state holds end so many leases after the beginning of the lease's time in which they
 * were leased. A process gives back its units within little more than three leases.
 */
export const LEASE_LIVES = 5

/** One policy's state at one moment, in the in-process engine. */
export interface Meter<State> {
  /** True if the cost is more than what is left. */
  readonly exceeds: boolean
  /** What a denied request may be charged: nothing if its cost can never be admitted. */
  readonly chargeableIfDenied: number
  /** Charges `units`, also beyond the limit. Returns true if that changed anything. */
  charge(units: number, isDenied: boolean): boolean
  /** Returns the cost that was charged at `chargedAt` (0: unknown). Returns true if that changed anything. */
  refund(chargedAt: number): boolean
  remaining(): number
  resetMs(): number
  /** Milliseconds until the cost is admitted: 0 at once, -1 never. */
  retryAfterMs(): number
  /** The state to store, and when it stops to count: 0 if nothing is counted. */
  snapshot(): { state: State; countsUntil: number }
}

/** Units that a state can hold: 5 bytes in Redis. */
export const MAX_UNITS = 1_099_511_627_775
/** Milliseconds that 6 bytes hold beside the time of day, and that a reply contains to the last digit. */
export const MAX_MS = 10_000_000_000_000
