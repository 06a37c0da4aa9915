/** One fill of an entry at a time in this process. Requests that come meanwhile wait for its outcome. */
import type { CacheEntry } from './entry.ts'
import { isTracingFills } from './fill-context.ts'

/** A lease that a fill leaves to its waiters. The one that takes it sets the token to ''. */
export interface InheritedLease {
  token: string
}

/**
 * How a fill ended: with an entry to share; without one, because its request left or its response
 * was not for others, so that the next waiter fills; or without one, because no response can be shared.
 */
export type FlightOutcome =
  | { readonly type: 'filled'; readonly entry: CacheEntry }
  | { readonly type: 'abandoned'; readonly lease: InheritedLease }
  | { readonly type: 'refused' }

/** A fill that is under way in this process. */
export interface Flight {
  /** The key of the entry that it was begun for. */
  readonly key: string
  /** The log's `epoch` when the fill began. */
  readonly epoch: number
  /** True if it began without the store. Then it is unknown what other processes have invalidated. */
  readonly isWithoutStore: boolean
  /** True if the requests that its handler sends to this process are known as a part of it. */
  readonly isTraced: boolean
  /** Rejects with the error of the fill. */
  readonly outcome: Promise<FlightOutcome>
  /** Ends the wait of all waiters. Only the first call of `settle` or `fail` counts. */
  settle(outcome: FlightOutcome): void
  fail(error: unknown): void
}

/** The fills of this process, by the entry's key. */
export class SingleFlight {
  readonly #flights = new Map<string, Flight>()

  get(key: string): Flight | undefined {
    return this.#flights.get(key)
  }

  /**
   * Begins a flight. It takes the place of any other with the same key.
   * @param replaced a flight whose waiters share the outcome of the new one
   */
  begin(key: string, epoch: number, isWithoutStore: boolean, replaced?: Flight): Flight {
    let settle: Flight['settle'] = () => {}
    let fail: Flight['fail'] = () => {}
    const outcome = new Promise<FlightOutcome>((resolve, reject) => {
      settle = resolve
      fail = reject
    })
    // It may have no waiters.
    outcome.catch(() => {})
    if (replaced) outcome.then(replaced.settle, replaced.fail)
    const isTraced = isTracingFills()
    const flight: Flight = { key, epoch, isWithoutStore, isTraced, outcome, settle, fail }
    this.#flights.set(key, flight)
    return flight
  }

  /** Removes a flight. From then on no request joins it. */
  end(flight: Flight): void {
    if (this.#flights.get(flight.key) === flight) this.#flights.delete(flight.key)
  }
}
