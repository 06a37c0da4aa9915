/** Event streams of routers. */
import type { TurnpikeError } from '../../../errors.ts'
import type { Exchange, Plan } from '../../../http/exchange.ts'
import type { FeedSettings } from '../channels/feed.ts'
import type { Topics } from '../channels/topics.ts'
import { EventStream } from './event-stream.ts'
import type { EventFraming } from './frame.ts'
import { BUSY, EVENT_STREAM_HEADERS, TOO_MANY } from './replies.ts'
import { openStreams, StreamSet, type OpenStreams, type Place } from './stream-set.ts'
import { subjectsOf, userStreams, type UserStreams } from './user-streams.ts'

/** Time after which a client connects again, and a pause between two heartbeats, in ms. */
const [RETRY, HEARTBEAT] = [2000, 15_000]
const MAX_AGE = 1_800_000
const MAX_BUFFER = 262_144
/** Most streams of a process. Those of `sse()` count, too. */
const MAX_STREAMS = 10_000
/** Most streams of a user, in all processes. Those of `sse()` count, too. */
const PER_USER = 20

/** What a stream begins with. */
export interface StreamStart {
  readonly feeds: readonly FeedSettings[]
  /** Positions that the client knows, by digest of the topic. */
  readonly positions: ReadonlyMap<string, string>
  /** Lines of the events that are sent first. @default none */
  readonly first?: string | undefined
  /** Key of the user: `sse().end()` ends the stream. Undefined: the user is not known. */
  readonly user: string | undefined
  readonly tenant: string | undefined
  /** Ends the stream after `first`. @default false */
  readonly isOver?: boolean
}

export class RouterStreams {
  readonly #topics: Topics
  readonly #framing: EventFraming
  readonly #streams: StreamSet
  readonly #users: UserStreams
  readonly #open: OpenStreams

  constructor(topics: Topics, framing: EventFraming) {
    this.#topics = topics
    this.#framing = framing
    this.#streams = new StreamSet(topics.context, { heartbeat: HEARTBEAT, maxAge: MAX_AGE })
    this.#users = userStreams(topics)
    this.#open = openStreams(topics.context)
  }

  /** Returns the reply to a request for a stream. */
  async reply(x: Exchange, start: StreamStart): Promise<Plan> {
    const { context } = this.#topics
    if (context.closing.aborted || this.#open.count >= MAX_STREAMS) return { refusal: BUSY }
    const headers = EVENT_STREAM_HEADERS
    if (x.method === 'HEAD') return { reply: { status: 200, headers } }
    // Counted before it waits. Otherwise requests of one moment could exceed the bound.
    this.#open.count++
    let stream: EventStream | undefined
    try {
      const { user } = start
      const place = user === undefined ? undefined : await this.#streams.take(user, PER_USER)
      if (user !== undefined && place === undefined) return { refusal: TOO_MANY }
      const subjects = subjectsOf(context, x.native, user, start.tenant)
      stream = this.#create(start, subjects, place)
      return { reply: { status: 200, headers, body: stream } }
    } catch (error) {
      if ((error as Partial<TurnpikeError>).code === 'TP_LIMITED') return { refusal: BUSY }
      throw error
    } finally {
      if (stream === undefined) this.#open.count--
    }
  }

  #create(
    { feeds, first, isOver = false, positions }: StreamStart,
    subjects: readonly string[],
    place: Place | undefined,
  ): EventStream {
    const stream: EventStream = new EventStream({
      topics: this.#topics,
      feeds,
      positions,
      framing: this.#framing,
      events: this.#topics.context.events,
      retry: RETRY,
      maxBuffer: MAX_BUFFER,
      first,
      onOver: () => {
        this.#open.count--
        this.#streams.remove(stream)
        this.#users.remove(subjects, stream)
      },
    })
    this.#streams.add(stream, place)
    this.#users.add(subjects, stream)
    if (isOver) stream.end()
    return stream
  }
}
