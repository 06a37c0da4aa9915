/** Server-sent events: `sse()`. */
import { durationOption, durationValidator } from '../../../duration.ts'
import type { TurnpikeError } from '../../../errors.ts'
import type { ExtensionContext } from '../../../extension.ts'
import { passThrough, type Exchange, type Feature, type Plan } from '../../../http/exchange.ts'
import type { Refusal } from '../../../http/refusal.ts'
import { requireTenant } from '../../../store/subject.ts'
import {
  anyOf,
  anyString,
  callback,
  integer,
  optionError,
  validateOptions,
  type Validator,
} from '../../../validate.ts'
import { isTopic, type Topics } from '../channels/topics.ts'
import { EventStream } from './event-stream.ts'
import { Framing } from './frame.ts'
import type { SseControl, SseOptions } from './options.ts'
import { lastEventId, MAX_TOPICS, readPositions } from './positions.ts'
import { BUSY, EVENT_STREAM_HEADERS, TOO_MANY } from './replies.ts'
import { openStreams, StreamSet, type OpenStreams, type Place } from './stream-set.ts'
import { subjectsOf, userKey, userStreams, type UserStreams } from './user-streams.ts'

const WHERE = 'sse()'
const NONE: Validator = { expected: 'false', accepts: (value) => value === false }
const OPTIONS: Record<string, Validator> = {
  topics: callback,
  authorize: callback,
  format: callback,
  user: callback,
  perUser: anyOf(integer(1, 10_000), NONE),
  maxStreams: integer(1, 1_000_000),
  heartbeat: durationValidator,
  retry: durationValidator,
  maxAge: durationValidator,
  maxBuffer: integer(65_536, 2 ** 30),
  reply: callback,
}
/** Longest delay of a timer. */
const MAX_DELAY = 2 ** 31 - 1

/** @throws TP_OPTION for an option that cannot be used */
export function createSse<Native, Middleware extends object>(
  topics: Topics<Native, Middleware>,
  options: SseOptions<Native>,
): Middleware & SseControl {
  const { context } = topics
  validateOptions(WHERE, options, OPTIONS)
  if (options.topics === undefined)
    throw optionError(
      WHERE,
      'topics',
      undefined,
      'a function that returns topics, like (req) => [`user:${req.user.id}`]',
    )
  const streams = new StreamSet(context, {
    heartbeat: Math.min(
      durationOption(options.heartbeat ?? '15s', WHERE, 'heartbeat', 10),
      MAX_DELAY,
    ),
    maxAge: durationOption(options.maxAge ?? '30m', WHERE, 'maxAge', 10),
  })
  const users = userStreams(topics)
  const middleware = context.mount(new SseFeature(topics, options, streams, users))
  const end: SseControl['end'] = async (user, call = {}) => {
    const where = `${WHERE}.end()`
    validateOptions(where, call, { tenant: anyString })
    await users.end(userKey(context, user, requireTenant(context, call.tenant, where), where))
  }
  return Object.defineProperties(middleware, {
    end: { value: end },
    size: { get: () => streams.size },
    endAll: { value: () => streams.endAll() },
  }) as Middleware & SseControl
}

class SseFeature<Native> implements Feature<Native, never> {
  readonly name = 'sse'
  readonly onBackground = 'skip'
  readonly #context: ExtensionContext<Native>
  readonly #topics: Topics
  readonly #options: SseOptions<Native>
  readonly #streams: StreamSet
  readonly #framing: Framing
  readonly #users: UserStreams
  readonly #open: OpenStreams
  readonly #retry: number

  constructor(
    topics: Topics<Native>,
    options: SseOptions<Native>,
    streams: StreamSet,
    users: UserStreams,
  ) {
    this.#users = users
    this.#context = topics.context
    this.#topics = topics
    this.#options = options
    this.#streams = streams
    this.#framing = new Framing(options.format)
    this.#open = openStreams(topics.context)
    this.#retry = durationOption(options.retry ?? '2s', WHERE, 'retry')
  }

  handle(x: Exchange<Native>): Plan | Promise<Plan> {
    return x.method === 'GET' || x.method === 'HEAD' ? this.#plan(x) : passThrough
  }

  async #plan(x: Exchange<Native>): Promise<Plan> {
    const { native } = x
    const { authorize, reply: replyWith } = this.#options
    const refuse = (refusal: Refusal): Plan => ({ refusal, replyWith })
    const topics = [...new Set([(await this.#options.topics(native)) ?? []].flat())]
    if (topics.length === 0) return { reply: { status: 204 } }
    if (topics.length > MAX_TOPICS || !topics.every(isTopic)) return refuse(INVALID_TOPICS)
    for (const topic of topics)
      if (authorize !== undefined && ((await authorize(native, topic)) as unknown) !== true)
        return refuse(FORBIDDEN)
    const tenant = await this.#context.tenantOf(native)
    const feeds = topics.map((topic) => this.#topics.feedSettings(topic, tenant, WHERE))
    if (this.#context.closing.aborted || this.#open.count >= (this.#options.maxStreams ?? 10_000))
      return refuse(BUSY)
    const headers = EVENT_STREAM_HEADERS
    if (x.method === 'HEAD') return { reply: { status: 200, headers } }
    this.#open.count++
    let stream: EventStream | undefined
    try {
      const user = this.#userOf(native, tenant)
      const place = await this.#placeOf(user)
      if (place === 'none') return refuse(TOO_MANY)
      const subjects = subjectsOf(this.#context, native, user, tenant)
      stream = this.#stream(feeds, readPositions(lastEventId(x)), subjects, place)
    } catch (error) {
      if ((error as Partial<TurnpikeError>).code === 'TP_LIMITED') return refuse(BUSY)
      throw error
    } finally {
      if (stream === undefined) this.#open.count--
    }
    return { reply: { status: 200, headers, body: stream } }
  }

  /** Returns the key of the user's places. Undefined: the user is not known. */
  #userOf(native: Native, tenant: string | undefined): string | undefined {
    const { user = (from: Native) => this.#context.identityOf(from).userId } = this.#options
    const id = user(native)
    return id === undefined || id === null || id === ''
      ? undefined
      : userKey(this.#context, id, tenant, WHERE)
  }

  /** Takes a place of the user. `'none'`: there is none left. Undefined: the user is not limited. */
  async #placeOf(user: string | undefined): Promise<Place | 'none' | undefined> {
    const { perUser = 20 } = this.#options
    if (user === undefined || perUser === false) return undefined
    return (await this.#streams.take(user, perUser)) ?? 'none'
  }

  #stream(
    feeds: ReturnType<Topics['feedSettings']>[],
    positions: ReadonlyMap<string, string>,
    subjects: readonly string[],
    place: Place | undefined,
  ): EventStream {
    const stream: EventStream = new EventStream({
      topics: this.#topics,
      feeds,
      positions,
      framing: this.#framing,
      events: this.#context.events,
      retry: this.#retry,
      maxBuffer: this.#options.maxBuffer ?? 262_144,
      onOver: () => {
        this.#open.count--
        this.#streams.remove(stream)
        this.#users.remove(subjects, stream)
      },
    })
    this.#streams.add(stream, place)
    this.#users.add(subjects, stream)
    return stream
  }
}

const INVALID_TOPICS: Refusal = {
  status: 400,
  code: 'TP_VALUE',
  detail: `A stream has at most ${MAX_TOPICS} topics, each a string of 1 to 256 characters.`,
}
const FORBIDDEN: Refusal = {
  status: 403,
  code: 'TP_FORBIDDEN',
  detail: 'You may not read one of these topics.',
}
