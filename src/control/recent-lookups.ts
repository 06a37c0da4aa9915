/** What a table of rules found for the last addresses, so that repeated ones need not be read again. */
import { isInForce } from './rule.ts'
import type { PrefixRule } from './prefix-rules.ts'

/** Largest number of addresses that are kept. */
const MAX_ADDRESSES = 2048
/** No IPv6 address is longer, in the form without zone and port (RFC 4291, 2.2). */
const LONGEST = 45
/**
 * One in so many new addresses is kept. A client that repeats its address is soon among them, and a flood
 * of addresses that do not return costs little more than its lookups.
 */
const KEPT_SHARE = 32

/** Stands for an address that no rule is about. */
const NO_RULE: PrefixRule = { effect: 'allow', until: Infinity, isExact: false, isBan: false }

/** The last lookups of a table. Clear them with each change of the table. */
export class RecentLookups {
  readonly #now: () => number
  readonly #found = new Map<string, PrefixRule>()
  #misses = 0

  constructor(now: () => number) {
    this.#now = now
  }

  /** Number of addresses that are kept. */
  get size(): number {
    return this.#found.size
  }

  /**
   * Returns the rule for an address, null if no rule is about it, and undefined if it is not known. A rule
   * that has ended is not known: a shorter prefix may have one.
   */
  get(address: string): PrefixRule | null | undefined {
    const rule = this.#found.get(address)
    if (rule === undefined) return undefined
    if (rule === NO_RULE) return null
    return isInForce(rule, this.#now) ? rule : undefined
  }

  /** Keeps what was found for one in `KEPT_SHARE` addresses. */
  add(address: string, rule: PrefixRule | undefined): void {
    if (++this.#misses % KEPT_SHARE !== 0 || address.length > LONGEST) return
    if (this.#found.size >= MAX_ADDRESSES) this.#found.clear()
    // A copy. An address that was cut out of a header field would keep the whole field in memory.
    const copy = Buffer.from(address, 'latin1').toString('latin1')
    this.#found.set(copy, rule ?? NO_RULE)
  }

  clear(): void {
    if (this.#found.size > 0) this.#found.clear()
  }
}
