/** A subscription as an async iterator. */
import type { EventBus } from '../../../events.ts'
import { parseStoredJson } from '../../../stored-json.ts'
import type { FollowerEvents } from './follower.ts'
import type { Message } from './message.ts'
import type { ChannelMessage, Subscription } from './options.ts'

type Item = Message | { readonly gap: string }
type Result<Data> = IteratorResult<ChannelMessage<Data>, undefined>

/** Queues messages for a loop, up to `highWater`. */
export class MessageQueue<Data> implements Subscription<Data>, FollowerEvents {
  readonly ready: Promise<void>
  readonly #topic: string
  readonly #highWater: number
  readonly #events: EventBus
  readonly #items: Item[] = []
  readonly #waiters: ((result: Result<Data>) => void)[] = []
  #drained: (() => void) | undefined
  /** Position behind the messages that were dropped. */
  #dropped: string | undefined
  #hasEnded = false
  #markReady!: () => void
  /** Called when the loop ends. */
  onReturn: () => void = () => {}

  constructor(topic: string, highWater: number, events: EventBus) {
    this.#topic = topic
    this.#highWater = highWater
    this.#events = events
    this.ready = new Promise((resolve) => (this.#markReady = resolve))
  }

  onJoin(): void {
    this.#markReady()
  }

  onMessage(message: Message): void {
    this.#push(message)
  }

  onGap(position: string): void {
    this.#push({ gap: position })
  }

  onEnd(): void {
    this.#hasEnded = true
    this.#markReady()
    this.#drained?.()
    this.onReturn()
    // What has arrived is still delivered.
    if (this.#items.length === 0) this.#settle()
  }

  drained(): Promise<void> | undefined {
    if (this.#items.length === 0 || this.#hasEnded) return undefined
    return new Promise((resolve) => (this.#drained = resolve))
  }

  next(): Promise<Result<Data>> {
    const found = this.#shift()
    if (this.#items.length === 0) this.#drained?.()
    if (found !== undefined) return Promise.resolve({ done: false, value: found })
    if (this.#hasEnded) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve) => this.#waiters.push(resolve))
  }

  return(): Promise<IteratorReturnResult<undefined>> {
    this.#items.length = 0
    this.#dropped = undefined
    this.onEnd()
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  #settle(): void {
    for (const resolve of this.#waiters.splice(0)) resolve({ done: true, value: undefined })
  }

  #push(item: Item): void {
    if (this.#hasEnded) return
    this.#items.push(item)
    if (this.#waiters.length > 0) {
      const value = this.#shift()
      if (value !== undefined) this.#waiters.shift()!({ done: false, value })
    } else if (this.#items.length > this.#highWater) {
      const oldest = this.#items.shift()!
      this.#dropped = 'gap' in oldest ? oldest.gap : oldest.id
    }
  }

  /** Takes the next one that can be read out of the queue. */
  #shift(): ChannelMessage<Data> | undefined {
    const topic = this.#topic
    if (this.#dropped !== undefined) {
      const id = this.#dropped
      this.#dropped = undefined
      return { topic, id, data: undefined, gap: true }
    }
    for (;;) {
      const item = this.#items.shift()
      if (item === undefined) return undefined
      if ('gap' in item) return { topic, id: item.gap, data: undefined, gap: true }
      try {
        return { topic, id: item.id, data: parseStoredJson(item.json) as Data, gap: false }
      } catch (error) {
        // Only a stranger publishes what is no JSON.
        this.#events.emit('error', { feature: 'channels', name: topic, error })
      }
    }
  }
}
