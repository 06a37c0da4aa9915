/** Writes that no caller waits for. */
import { isUnavailable } from '../errors.ts'
import type { EventBus } from '../events.ts'
import type { Store } from '../store/store.ts'

export interface RetryWriteOptions {
  store: Store
  events: EventBus
  /** Feature and name of the mount, for the event `error`. */
  feature: string
  name: string
  /** Time by `store.monotonic()` after which no attempt begins. */
  until: number
}

/** First and longest pause between attempts, in ms. */
const PAUSES = [50, 1000] as const

/**
 * Repeats a write until the store takes it or `until` is over. Never throws.
 * @returns the write's reply; undefined if it was given up
 */
export async function retryWrite<Result>(
  write: () => Promise<Result>,
  { store, events, feature, name, until }: RetryWriteOptions,
): Promise<Result | undefined> {
  let [pause] = PAUSES as readonly [number, number]
  for (;;) {
    try {
      return await write()
    } catch (error) {
      const isFinal = !isUnavailable(error) || error.reason === 'closed'
      if (isFinal || store.monotonic() + pause >= until) {
        events.emit('error', { feature, name, error })
        return undefined
      }
    }
    await store.sleep(pause * (0.5 + Math.random() / 2), undefined, true).catch(() => {})
    pause = Math.min(pause * 2, PAUSES[1])
  }
}
