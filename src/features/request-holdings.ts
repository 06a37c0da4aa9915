/** What a request holds already, through a mount further out on its way. */
import { nodeRequestOf } from '../http/request-body.ts'

/** The locks, permits or keys that requests hold, by tag. */
export class RequestHoldings {
  /** On the request itself: a WeakMap with an entry for each costs the garbage collector far more. */
  readonly #slot: symbol

  /** @param what is held, for debuggers */
  constructor(what: string) {
    this.#slot = Symbol(`turnpike.holdings.${what}`)
  }

  /** Returns true if the request holds `tag`. Without this a second mount would wait for the first one. */
  has(native: unknown, tag: string): boolean {
    return this.#of(native)?.includes(tag) === true
  }

  /** Notes that the request holds `tag`. */
  add(native: unknown, tag: string): void {
    const tags = this.#of(native)
    if (tags === undefined) Object.assign(nodeRequestOf(native), { [this.#slot]: [tag] })
    else tags.push(tag)
  }

  #of(native: unknown): string[] | undefined {
    return (nodeRequestOf(native) as object as Record<symbol, string[] | undefined>)[this.#slot]
  }
}
