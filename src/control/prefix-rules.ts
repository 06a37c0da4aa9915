/** Rules for networks of one family of addresses. The longest prefix wins. */
import { isInForce, type Rule } from './rule.ts'

/** A rule for a network. */
export interface PrefixRule extends Rule {
  /** True for a rule about a single address. */
  readonly isExact: boolean
  readonly isBan: boolean
}

/** The rules of one length of prefix, by their leading bits. */
type RulesOfLength<Bits> = Pick<Map<Bits, PrefixRule>, 'delete' | 'get' | 'has' | 'size'> & {
  set(bits: Bits, rule: PrefixRule): unknown
  entries(): Iterable<[Bits, PrefixRule]>
}

/** The rules for networks of one family of addresses. */
export class PrefixRules<Bits> {
  readonly #longest: number
  readonly #mask: (bits: Bits, length: number) => Bits
  readonly #create: () => RulesOfLength<Bits>
  readonly #now: () => number
  /** The rules of each length, the longest first. No list is empty. */
  readonly #lengths: { readonly length: number; readonly rules: RulesOfLength<Bits> }[] = []
  #size = 0

  /**
   * @param longest length of the prefix of a single address
   * @param mask returns the leading bits of an address
   * @param create creates the rules of a length
   */
  constructor(
    longest: number,
    mask: (bits: Bits, length: number) => Bits,
    create: () => RulesOfLength<Bits>,
    now: () => number,
  ) {
    this.#longest = longest
    this.#mask = mask
    this.#create = create
    this.#now = now
  }

  get size(): number {
    return this.#size
  }

  find(bits: Bits): PrefixRule | undefined {
    let ban: PrefixRule | undefined
    for (const { length, rules } of this.#lengths) {
      const rule = rules.get(length === this.#longest ? bits : this.#mask(bits, length))
      if (rule === undefined || !isInForce(rule, this.#now)) continue
      if (!rule.isBan) return rule
      ban ??= rule
    }
    return ban
  }

  /** @param isFull true if only an existing rule may be replaced */
  set(bits: Bits, length: number, { effect, until, ban }: Rule, isFull: boolean): void {
    const known = this.#lengths.find((each) => each.length === length)
    const isNew = known?.rules.has(bits) !== true
    if (isNew && isFull) return
    const rules = known?.rules ?? this.#create()
    const [isExact, isBan] = [length === this.#longest, ban !== undefined]
    rules.set(bits, { effect, until, isExact, isBan })
    if (isNew) this.#size++
    if (known === undefined) {
      this.#lengths.push({ length, rules })
      this.#lengths.sort((a, b) => b.length - a.length)
    }
  }

  delete(bits: Bits, length: number): void {
    const i = this.#lengths.findIndex((each) => each.length === length)
    if (i < 0) return
    const { rules } = this.#lengths[i]!
    if (rules.delete(bits)) this.#size--
    if (rules.size === 0) this.#lengths.splice(i, 1)
  }

  clear(): void {
    this.#lengths.length = 0
    this.#size = 0
  }

  /** Removes the rules that have ended. */
  prune(): void {
    const now = this.#now()
    for (const { length, rules } of this.#lengths.slice())
      for (const [bits, { until }] of rules.entries()) if (until <= now) this.delete(bits, length)
  }
}
