/**
 * A map from IPv4 addresses to values. A lookup in a Map of numbers of 32 bits costs three times as much,
 * because V8 keeps numbers above 2^31 on the heap.
 */
import { randomInt } from 'node:crypto'
import type { Ipv4Bits } from '../http/address-bits.ts'

const FIRST_BITS = 4

/**
 * Open addressing with linear probing, at most half full. Values are moved back when one is deleted, so
 * there are no marks of deleted ones.
 */
export class Ipv4Map<Value> {
  /**
   * Random, odd. Multiply-shift hashing is universal (Dietzfelbinger et al. 1997): clients cannot choose
   * addresses that collide.
   */
  readonly #multiplier = randomInt(2 ** 31) * 2 + 1
  #bits = FIRST_BITS
  #keys = new Int32Array(2 ** FIRST_BITS)
  #values: (Value | undefined)[] = emptySlots(FIRST_BITS)
  #size = 0

  get size(): number {
    return this.#size
  }

  get(address: Ipv4Bits): Value | undefined {
    return this.#values[this.#slotOf(address | 0)]
  }

  has(address: Ipv4Bits): boolean {
    return this.get(address) !== undefined
  }

  set(address: Ipv4Bits, value: Value): void {
    let slot = this.#slotOf(address | 0)
    if (this.#values[slot] === undefined) {
      this.#size++
      if (this.#size > this.#keys.length / 2) {
        this.#grow()
        slot = this.#slotOf(address | 0)
      }
    }
    this.#keys[slot] = address
    this.#values[slot] = value
  }

  delete(address: Ipv4Bits): boolean {
    const mask = this.#keys.length - 1
    let free = this.#slotOf(address | 0)
    if (this.#values[free] === undefined) return false
    this.#values[free] = undefined
    this.#size--
    for (let slot = (free + 1) & mask; this.#values[slot] !== undefined; slot = (slot + 1) & mask) {
      const key = this.#keys[slot]!
      // A value may only move back to slots that its lookup passes.
      if (((slot - this.#homeOf(key)) & mask) < ((slot - free) & mask)) continue
      this.#keys[free] = key
      this.#values[free] = this.#values[slot]
      this.#values[slot] = undefined
      free = slot
    }
    return true
  }

  /** Returns addresses and values as they are now. */
  entries(): [Ipv4Bits, Value][] {
    return this.#values.flatMap((value, slot): [Ipv4Bits, Value][] =>
      value === undefined ? [] : [[this.#keys[slot]! >>> 0, value]],
    )
  }

  #homeOf(key: number): number {
    return Math.imul(key, this.#multiplier) >>> (32 - this.#bits)
  }

  /** Returns the slot of a key, or the free one where it belongs. */
  #slotOf(key: number): number {
    const keys = this.#keys
    const values = this.#values
    const mask = keys.length - 1
    let slot = this.#homeOf(key)
    while (values[slot] !== undefined && keys[slot] !== key) slot = (slot + 1) & mask
    return slot
  }

  #grow(): void {
    const entries = this.entries()
    this.#bits++
    this.#keys = new Int32Array(2 ** this.#bits)
    this.#values = emptySlots(this.#bits)
    for (const [address, value] of entries) {
      const slot = this.#slotOf(address | 0)
      this.#keys[slot] = address
      this.#values[slot] = value
    }
  }
}

const emptySlots = (bits: number): undefined[] => Array.from({ length: 2 ** bits }, () => undefined)
