/** One making of an entry at a time in this process: whoever comes meanwhile waits for its outcome. */
import type { CacheEntry } from './entry.ts'

/** What became of it: an entry to be shared, or nothing that can be. */
export type FlightResult = CacheEntry | undefined

export interface Flight {
  /** What the process had invalidated when it began. */
  readonly epoch: number
  /** Did it begin without the store? Then nobody can tell what was invalidated elsewhere. */
  readonly alone: boolean
  readonly landing: Promise<FlightResult>
  /** Tell those who wait. Only the first word counts. */
  land(landing: FlightResult): void
  /** It has failed: so has everybody who waits. */
  fail(error: unknown): void
  /** Nobody may join any more. */
  end(): void
}

/** The flights of this process, by the key of what they make. */
export class SingleFlight {
  readonly #flights = new Map<string, Flight>()

  get(key: string): Flight | undefined {
    return this.#flights.get(key)
  }

  /**
   * Begin one; it takes the place of any other under the same key.
   * @param former whoever waits for this one is told of the new one's landing
   */
  begin(key: string, epoch: number, alone: boolean, former?: Flight): Flight {
    let land: (landing: FlightResult) => void = () => {}
    let fail: (error: unknown) => void = () => {}
    const landing = new Promise<FlightResult>((resolve, reject) => {
      land = resolve
      fail = reject
    })
    // Perhaps nobody waits.
    landing.catch(() => {})
    if (former) landing.then(former.land, former.fail)
    const flight: Flight = {
      epoch,
      alone,
      landing,
      land,
      fail,
      end: () => {
        if (this.#flights.get(key) === flight) this.#flights.delete(key)
        land(undefined)
      },
    }
    this.#flights.set(key, flight)
    return flight
  }
}
