/** What a request holds already, through a mount further out on its way. */
import { RequestMemo } from './request-memo.ts'

/** The locks, permits or keys that requests hold, by tag. */
export class RequestHoldings {
  readonly #memo: RequestMemo<string[]>

  /** @param what is held, for debuggers */
  constructor(what: string) {
    this.#memo = new RequestMemo(`turnpike.holdings.${what}`)
  }

  /**
   * Returns true if the request holds `tag`. Without this a second mount would wait for the first one.
   * @param x the request's exchange
   */
  has(x: object, tag: string): boolean {
    return this.#memo.get(x)?.includes(tag) === true
  }

  /** Notes that the request holds `tag`. */
  add(x: object, tag: string): void {
    const tags = this.#memo.get(x)
    if (tags === undefined) this.#memo.set(x, [tag])
    else tags.push(tag)
  }
}
