/** The streams of one mount: heartbeats, ages and places, by one timer. */
import { randomBytes } from 'node:crypto'
import { isUnavailable } from '../../../errors.ts'
import type { ExtensionContext } from '../../../extension.ts'
import type { EventStream } from './event-stream.ts'
import { acquirePlace, releasePlace, renewPlace } from './operations.ts'

/** How long a place outlives a process that crashed, and how often it is renewed, in ms. */
export const PLACE_LEASE = 60_000
const RENEW_INTERVAL = 20_000

/** The place of a stream among those of its user. */
export interface Place {
  readonly key: string
  readonly id: string
  renewedAt: number
}

export interface StreamSetOptions {
  /** Pause between two heartbeats, in ms. */
  readonly heartbeat: number
  /** Longest life of a stream, in ms. */
  readonly maxAge: number
}

/** Streams of a process, of all mounts. */
export interface OpenStreams {
  count: number
}

/** Returns the number of open streams of an instance, for all mounts to change. */
export const openStreams = (context: ExtensionContext): OpenStreams =>
  context.once('streams', () => ({ count: 0 }))

export class StreamSet {
  readonly #context: ExtensionContext
  readonly #options: StreamSetOptions
  readonly #streams = new Map<EventStream, Place | undefined>()
  #timer: NodeJS.Timeout | undefined

  constructor(context: ExtensionContext, options: StreamSetOptions) {
    this.#context = context
    this.#options = options
    context.onClose(() => Promise.resolve(this.endAll()))
  }

  /** Number of open streams. */
  get size(): number {
    return this.#streams.size
  }

  add(stream: EventStream): void {
    this.#streams.set(stream, undefined)
    this.#timer ??= setInterval(() => this.#tick(), this.#options.heartbeat).unref()
  }

  remove(stream: EventStream): void {
    const place = this.#streams.get(stream)
    if (!this.#streams.delete(stream)) return
    if (place !== undefined) void this.#release(place)
    if (this.#streams.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Ends all streams. Their clients connect again after one to five seconds, not all at once. */
  endAll(): void {
    for (const stream of this.#streams.keys()) stream.end(1000 + Math.floor(Math.random() * 4000))
  }

  /**
   * Takes a place. Undefined: the user has none left. While Redis is away no request is refused.
   * @param key of the user's places
   */
  async take(key: string, limit: number): Promise<Place | undefined> {
    const place: Place = {
      key,
      id: randomBytes(9).toString('base64url'),
      renewedAt: performance.now(),
    }
    try {
      const args = [place.id, limit, PLACE_LEASE]
      const taken = await this.#context.store.run(acquirePlace, [key], args)
      return taken === 1 ? place : undefined
    } catch (error) {
      if (!isUnavailable(error)) throw error
      const { reason, uncertain } = error
      const event = { feature: 'sse', name: 'perUser', reason, uncertain, rule: 'open' }
      this.#context.events.emit('unavailable', event)
      return place
    }
  }

  /** Lets a stream hold the place that was taken for it. One that is over by now gives it back. */
  hold(stream: EventStream, place: Place): void {
    if (this.#streams.has(stream)) this.#streams.set(stream, place)
    else void this.#release(place)
  }

  /** Gives a place back. If that fails, its lease ends. */
  async #release({ key, id }: Place): Promise<void> {
    await this.#context.store.run(releasePlace, [key], [id]).catch(() => {})
  }

  #tick(): void {
    const now = performance.now()
    for (const [stream, place] of this.#streams) {
      if (now - stream.openedAt >= this.#options.maxAge) {
        stream.end()
        continue
      }
      stream.beat()
      if (place === undefined || now - place.renewedAt < RENEW_INTERVAL) continue
      place.renewedAt = now
      this.#context.store.run(renewPlace, [place.key], [place.id, PLACE_LEASE]).catch(() => {})
    }
  }
}
