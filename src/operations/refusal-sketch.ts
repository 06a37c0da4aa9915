import type { RefusedSubject } from '../feature-counts.ts'

interface Refusals extends RefusedSubject {
  count: number
}

/**
 * Counts the subjects that limits refuse most (Space-Saving: Metwally, Agrawal and El Abbadi, 2005).
 * A new subject takes the place and the count of the least one, so that a flood of subjects that come
 * once cannot hide one that comes often.
 */
export class RefusalSketch {
  readonly #capacity: number
  #refusals = new Map<string, Refusals>()

  constructor(capacity = 256) {
    this.#capacity = capacity
  }

  add(refused: RefusedSubject): void {
    const { limit, policy, subject, tenant = '' } = refused
    const name = typeof subject === 'string' ? subject : JSON.stringify(subject)
    const id = `${limit}\n${policy}\n${tenant}\n${name}`
    const known = this.#refusals.get(id)
    if (known) known.count++
    else this.#refusals.set(id, { ...refused, count: 1 + this.#makeRoom() })
  }

  /** Returns the subjects since the last call, and forgets them. */
  take(): (RefusedSubject & { readonly count: number })[] {
    const taken = [...this.#refusals.values()]
    this.#refusals = new Map()
    return taken
  }

  /** Removes the least subject if there is no room. Returns its count. */
  #makeRoom(): number {
    if (this.#refusals.size < this.#capacity) return 0
    let least: string | undefined
    let count = Infinity
    for (const [id, refusals] of this.#refusals) {
      if (refusals.count >= count) continue
      least = id
      count = refusals.count
    }
    this.#refusals.delete(least!)
    return count
  }
}
