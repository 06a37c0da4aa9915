/** The event streams of one mount: opened, bounded in number, and ended together. */
import type { TurnpikeError } from '../../../errors.ts'
import type { Exchange, Plan } from '../../../http/exchange.ts'
import type { Refusal, ReplyFunction } from '../../../http/refusal.ts'
import type { FeedSettings } from '../channels/feed.ts'
import type { Topics } from '../channels/topics.ts'
import { EventStream } from './event-stream.ts'
import type { EventFraming } from './frame.ts'
import type { StreamControl } from './options.ts'
import { BUSY, EVENT_STREAM_HEADERS, TOO_MANY } from './replies.ts'
import { openStreams, StreamSet, type OpenStreams } from './stream-set.ts'
import { subjectsOf, userStreams, type UserStreams } from './user-streams.ts'

/** Settings of the streams of a mount; times in ms. */
export interface MountedStreamsSettings {
  readonly heartbeat: number
  /** Longest life of a stream. */
  readonly maxAge: number
  /** Most bytes that wait for a client. */
  readonly maxBuffer: number
  /** Most streams of this process, of all mounts. */
  readonly maxStreams: number
  /** Most streams of a user, of all mounts and processes. `false`: no limit. */
  readonly perUser: number | false
  /** Time after which a client connects again. */
  readonly retry: number
  /** Phrases the reply to a refused request. */
  readonly reply?: ReplyFunction<any> | undefined
}

/** Settings where an application chooses no others. */
export const STREAM_DEFAULTS: MountedStreamsSettings = {
  heartbeat: 15_000,
  maxAge: 1_800_000,
  maxBuffer: 262_144,
  maxStreams: 10_000,
  perUser: 20,
  retry: 2000,
}

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

export class MountedStreams {
  readonly #topics: Topics
  readonly #framing: EventFraming
  readonly #settings: MountedStreamsSettings
  readonly #streams: StreamSet
  readonly #users: UserStreams
  readonly #open: OpenStreams

  constructor(topics: Topics, framing: EventFraming, settings: MountedStreamsSettings) {
    this.#topics = topics
    this.#framing = framing
    this.#settings = settings
    this.#streams = new StreamSet(topics.context, settings)
    this.#users = userStreams(topics)
    this.#open = openStreams(topics.context)
  }

  /** Adds the control of these streams to the middleware that serves them. */
  control<Middleware>(middleware: Middleware): Middleware & StreamControl {
    return Object.defineProperties(middleware as object, {
      size: { get: () => this.#streams.size },
      endAll: { value: () => this.#streams.endAll() },
    }) as Middleware & StreamControl
  }

  /** Returns the reply to a request for a stream. */
  async reply(x: Exchange, start: StreamStart): Promise<Plan> {
    const { maxStreams, perUser } = this.#settings
    if (this.#topics.context.closing.aborted || this.#open.count >= maxStreams)
      return this.#refuse(BUSY)
    const headers = EVENT_STREAM_HEADERS
    if (x.method === 'HEAD') return { reply: { status: 200, headers } }
    const { isOver = false, user } = start
    // It is known before anything is waited for: what closes or revokes meanwhile ends it, too.
    const stream = this.#create(x, start)
    try {
      if (user !== undefined && perUser !== false) {
        const place = await this.#streams.take(user, perUser)
        if (place === undefined) {
          stream.destroy()
          return this.#refuse(TOO_MANY)
        }
        this.#streams.hold(stream, place)
      }
      stream.open()
      if (isOver) stream.end()
      return { reply: { status: 200, headers, body: stream } }
    } catch (error) {
      stream.destroy()
      if ((error as Partial<TurnpikeError>).code === 'TP_LIMITED') return this.#refuse(BUSY)
      throw error
    }
  }

  #refuse(refusal: Refusal): Plan {
    return { refusal, replyWith: this.#settings.reply }
  }

  #create(x: Exchange, { feeds, first, positions, tenant, user }: StreamStart): EventStream {
    const { context } = this.#topics
    const { maxBuffer, retry } = this.#settings
    const subjects = subjectsOf(context, x.native, user, tenant)
    const stream: EventStream = new EventStream({
      topics: this.#topics,
      feeds,
      positions,
      framing: this.#framing,
      events: context.events,
      retry,
      maxBuffer,
      first,
      onOver: () => {
        this.#open.count--
        this.#streams.remove(stream)
        this.#users.remove(subjects, stream)
      },
    })
    this.#open.count++
    this.#streams.add(stream)
    this.#users.add(subjects, stream)
    return stream
  }
}
