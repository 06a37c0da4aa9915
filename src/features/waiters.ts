/** How callers wait for what somebody else holds: woken by a message, with a poll behind it. */
import { RELEASED } from './lease.ts'
import type { Store } from '../store/store.ts'

/** What an attempt came to: something, and whether there is more of it; or how long to wait at most. */
export type AcquireAttempt<Got> = { got: Got; more: boolean } | AcquireRefused
export interface AcquireRefused {
  got?: undefined
  /** When to ask again at the latest, in ms: until then nothing ends by itself. */
  waitMs: number
}

export interface WaiterOptions {
  /** How long to wait at most, in ms; 0: one attempt. */
  wait: number
  /** Ends the wait with its reason. */
  signal: AbortSignal | undefined
  /** Does Redis keep the order? Then everybody asks for itself; otherwise one asks for all of this process. */
  fair: boolean
}

/** For how long a place in a fair line lasts without a sign of life, in ms. */
export const QUEUE_PLACE_TTL = 6000

/** The longest pause between polls, in ms: two signs of life may get lost in a fair line. */
const LONGEST = { fair: QUEUE_PLACE_TTL / 3, unfair: 1000 }
const SHORTEST = 100

class Waiter {
  readonly owner: string
  /** Somebody of this process has just been served the last one there was: wait for news before asking. */
  holdOff = false
  #woken = false
  #rouse: (() => void) | undefined

  constructor(owner: string) {
    this.owner = owner
  }

  wake(): void {
    this.#woken = true
    this.#rouse?.()
  }

  /** Resolves when it is woken, or after `ms`. */
  async rest(store: Store, ms?: number): Promise<void> {
    if (!this.#woken) {
      const alarm = new AbortController()
      await new Promise<void>((resolve) => {
        this.#rouse = resolve
        if (ms !== undefined) store.sleep(ms, alarm.signal, true).then(resolve, () => {})
      })
      alarm.abort(RELEASED)
    }
    this.#woken = false
    this.#rouse = undefined
  }
}

interface Line {
  /** In order of arrival; the first one asks. */
  queue: Waiter[]
  /** Those whose order Redis keeps. */
  fair: Map<string, Waiter>
  /** Ends the subscription; there is none before anybody has to wait. */
  cease: (() => void) | undefined
}

/** Who waits in this process, for each channel. */
export class Waiters {
  readonly #store: Store
  readonly #process: string
  readonly #lines = new Map<string, Line>()

  /** @param process begins the name of every owner of this process */
  constructor(store: Store, process: string) {
    this.#store = store
    this.#process = process
  }

  /** Attempt until it succeeds or `wait` is over; gives the last outcome. */
  async acquire<Got>(
    channel: string,
    owner: string,
    { wait, signal, fair }: WaiterOptions,
    attempt: () => Promise<AcquireAttempt<Got>>,
  ): Promise<AcquireAttempt<Got>> {
    signal?.throwIfAborted()
    if (wait <= 0) return await attempt()
    const line = this.#lineAt(channel)
    const waiter = new Waiter(owner)
    const alarm = new AbortController()
    let isOver = false
    let isWaiting = false
    const end = (): void => {
      isOver = true
      waiter.wake()
    }
    /** Most callers are served at once: only now is it worth while to listen. */
    const settleDown = (): void => {
      isWaiting = true
      line.cease ??= this.#store.subscribe(channel, (message) => this.#hear(line, message))
      this.#store.sleep(wait, alarm.signal).then(end, () => {})
      signal?.addEventListener('abort', end)
    }
    if (fair) line.fair.set(owner, waiter)
    else line.queue.push(waiter)
    let refused: AcquireRefused = { waitMs: 0 }
    let wasLast = false
    try {
      for (let polls = 0; ;) {
        const isMyTurn = fair || line.queue[0] === waiter
        if (isMyTurn && !waiter.holdOff) {
          const outcome = await attempt()
          if ('more' in outcome) {
            wasLast = !outcome.more
            return outcome
          }
          refused = outcome
        }
        waiter.holdOff = false
        signal?.throwIfAborted()
        if (!isWaiting) settleDown()
        if (!isOver)
          await waiter.rest(
            this.#store,
            isMyTurn ? pauseOf(refused.waitMs, polls++, fair) : undefined,
          )
        signal?.throwIfAborted()
        if (isOver) return refused
      }
    } finally {
      alarm.abort(RELEASED)
      signal?.removeEventListener('abort', end)
      this.#leave(channel, line, waiter, wasLast)
    }
  }

  /** Something of this channel became free in this process. */
  wake(channel: string): void {
    this.#lines.get(channel)?.queue[0]?.wake()
  }

  #lineAt(channel: string): Line {
    const known = this.#lines.get(channel)
    if (known) return known
    const line: Line = { queue: [], fair: new Map(), cease: undefined }
    this.#lines.set(channel, line)
    return line
  }

  #hear(line: Line, message: string): void {
    const [releaser, next] = message.split('>') as [string, string | undefined]
    if (message === '*') for (const waiter of line.fair.values()) waiter.wake()
    line.fair.get(next ?? '')?.wake()
    // What this process released, it knows already.
    if (!releaser.startsWith(this.#process)) line.queue[0]?.wake()
  }

  #leave(channel: string, line: Line, waiter: Waiter, wasLast: boolean): void {
    line.fair.delete(waiter.owner)
    const place = line.queue.indexOf(waiter)
    if (place >= 0) line.queue.splice(place, 1)
    const [next] = line.queue
    if (place === 0 && next) {
      next.holdOff = wasLast
      next.wake()
    }
    if (line.queue.length > 0 || line.fair.size > 0) return
    line.cease?.()
    this.#lines.delete(channel)
  }
}

/** Not before there can be news, soon at first, and never all at once. */
function pauseOf(waitMs: number, polls: number, fair: boolean): number {
  const longest = fair ? LONGEST.fair : LONGEST.unfair
  const pause = Math.min(SHORTEST * 2 ** Math.min(polls, 10), longest) * (0.5 + Math.random() / 2)
  return waitMs > 0 ? Math.min(pause, waitMs + 1 + Math.random() * 10) : pause
}
