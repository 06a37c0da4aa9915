/** Background refreshes that are under way in this process. */
import { BoundedMap } from '../../caching/bounded-map.ts'

/** At most so many requests are sent in the background at once. Stale entries are served meanwhile. */
const MAX_REFRESHES = 1_000
const MAX_REMEMBERED = 10_000

/** A copy of a request that is to fill an entry. */
interface BackgroundRefresh {
  /** The token of the lease that its sender holds; '': none. */
  readonly token: string
  hasArrived: boolean
}

/** The background refreshes of an instance, by the entry's key. */
export class BackgroundRefreshes {
  readonly #underWay = new Map<string, BackgroundRefresh>()
  /** Entries that a copy without cookies does not reach. */
  readonly #outOfReach = new BoundedMap<true>(MAX_REMEMBERED)

  /** Returns whether an entry is being refreshed, or need not be: there are too many refreshes. */
  isUnderWay(key: string): boolean {
    return this.#underWay.has(key) || this.#underWay.size >= MAX_REFRESHES
  }

  /** Returns whether a copy of a request may reach the entry. */
  canReach(key: string): boolean {
    return !this.#outOfReach.has(key)
  }

  begin(key: string, token: string): void {
    this.#underWay.set(key, { token, hasArrived: false })
  }

  /** Called when a background request has reached an entry. Returns the token of its lease, or undefined if none is refreshed. */
  arrive(key: string): string | undefined {
    const refresh = this.#underWay.get(key)
    if (refresh) refresh.hasArrived = true
    return refresh?.token
  }

  /** Ends a refresh. A copy that went elsewhere is not sent again. @param wasSent false: it could not be sent */
  end(key: string, wasSent: boolean): void {
    const refresh = this.#underWay.get(key)
    this.#underWay.delete(key)
    if (wasSent && refresh?.hasArrived === false) this.#outOfReach.set(key, true)
  }
}
