/** Messages as events of `text/event-stream` (HTML, 9.2.5). */
import type { Message } from '../channels/message.ts'

/** What an event consists of, besides its ID. */
export interface EventContent {
  /** Name of the event; `'message'` if omitted. Letters, digits and `_.:-`. @default 'message' */
  readonly event?: string | undefined
  /** Data of the event. What is no string is sent as JSON. */
  readonly data: unknown
}

/** Returns an event's name and data as lines. A line break in the data begins another line. */
export function frame(data: string, event?: string): string {
  const name = event === undefined ? '' : `event: ${event}\n`
  const lines = /[\r\n]/.test(data) ? data.split(/\r\n|\r|\n/).join('\ndata: ') : data
  return `${name}data: ${lines}\n\n`
}

/** Writes messages as events. */
export interface EventFraming {
  /** Returns the lines of a message. Undefined: it is not sent. */
  of(topic: string, message: Message): string | undefined
  /** Returns the lines of the event that says that messages of a topic are missing. */
  gap(topic: string): string
  /** Returns true if the stream ends after a message. It must not throw. @default never */
  isLast?(message: Message): boolean
}

/** Writes the messages of a mount as events. */
export class Framing implements EventFraming {
  readonly #format: ((topic: string, data: any) => EventContent | undefined) | undefined
  /** The latest message and its frame: streams of one topic write the same. */
  #latest: { message: Message; text: string | undefined } | undefined

  /** @param format returns the content of an event. By default topic and data, as JSON */
  constructor(format: ((topic: string, data: any) => EventContent | undefined) | undefined) {
    this.#format = format
  }

  of(topic: string, message: Message): string | undefined {
    if (this.#latest?.message === message) return this.#latest.text
    const text = this.#write(topic, message.json)
    this.#latest = { message, text }
    return text
  }

  gap(topic: string): string {
    return frame(JSON.stringify({ topic }), 'gap')
  }

  #write(topic: string, json: string): string | undefined {
    // It must be JSON before it stands in JSON. Anyone with access to Redis can publish.
    const parsed: unknown = JSON.parse(json)
    if (this.#format === undefined)
      return frame(`{"topic":${JSON.stringify(topic)},"data":${json}}`)
    const content = this.#format(topic, parsed)
    if (content === undefined) return undefined
    const { data, event } = content
    return frame(
      typeof data === 'string' ? data : (JSON.stringify(data) ?? 'null'),
      event === undefined ? undefined : event.replace(/[^\w.:-]/g, ''),
    )
  }
}
