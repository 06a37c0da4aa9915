/** Server-sent events: `sse()`. */
import { durationOption, durationValidator } from '../../../duration.ts'
import type { ExtensionContext } from '../../../extension.ts'
import { passThrough, type Exchange, type Feature, type Plan } from '../../../http/exchange.ts'
import type { Refusal } from '../../../http/refusal.ts'
import { requireTenant } from '../../../store/subject.ts'
import { isNoUser } from '../../../user-id.ts'
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
import { Framing } from './frame.ts'
import { MountedStreams, STREAM_DEFAULTS, type MountedStreamsSettings } from './mounted-streams.ts'
import type { SseControl, SseOptions } from './options.ts'
import { lastEventId, MAX_TOPICS, readPositions } from './positions.ts'
import { userKey, userStreams } from './user-streams.ts'

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
  const streams = new MountedStreams(topics, new Framing(options.format), settingsOf(options))
  const users = userStreams(topics)
  const middleware = streams.control(context.mount(new SseFeature(topics, options, streams)))
  const end: SseControl['end'] = async (user, call = {}) => {
    const where = `${WHERE}.end()`
    validateOptions(where, call, { tenant: anyString })
    await users.end(userKey(context, user, requireTenant(context, call.tenant, where), where))
  }
  return Object.defineProperty(middleware, 'end', { value: end }) as Middleware & SseControl
}

/** @throws TP_OPTION */
function settingsOf<Native>(options: SseOptions<Native>): MountedStreamsSettings {
  const {
    heartbeat = STREAM_DEFAULTS.heartbeat,
    maxAge = STREAM_DEFAULTS.maxAge,
    maxBuffer = STREAM_DEFAULTS.maxBuffer,
    maxStreams = STREAM_DEFAULTS.maxStreams,
    perUser = STREAM_DEFAULTS.perUser,
    reply,
    retry = STREAM_DEFAULTS.retry,
  } = options
  return {
    heartbeat: Math.min(durationOption(heartbeat, WHERE, 'heartbeat', 10), MAX_DELAY),
    maxAge: durationOption(maxAge, WHERE, 'maxAge', 10),
    maxBuffer,
    maxStreams,
    perUser,
    reply,
    retry: durationOption(retry, WHERE, 'retry'),
  }
}

class SseFeature<Native> implements Feature<Native, never> {
  readonly name = 'sse'
  readonly onBackground = 'skip'
  readonly #context: ExtensionContext<Native>
  readonly #topics: Topics
  readonly #options: SseOptions<Native>
  readonly #streams: MountedStreams

  constructor(topics: Topics<Native>, options: SseOptions<Native>, streams: MountedStreams) {
    this.#context = topics.context
    this.#topics = topics
    this.#options = options
    this.#streams = streams
  }

  handle(x: Exchange<Native>): Plan | Promise<Plan> {
    return x.method === 'GET' || x.method === 'HEAD' ? this.#plan(x) : passThrough
  }

  async #plan(x: Exchange<Native>): Promise<Plan> {
    const { native } = x
    const { authorize, reply: replyWith } = this.#options
    const refuse = (refusal: Refusal): Plan => ({ refusal, replyWith })
    const given: unknown = (await this.#options.topics(native)) ?? []
    const topics = [...new Set<unknown>(Array.isArray(given) ? given : [given])]
    if (topics.length === 0) return { reply: { status: 204 } }
    if (topics.length > MAX_TOPICS || !topics.every(isTopic)) return refuse(INVALID_TOPICS)
    for (const topic of topics)
      if (authorize !== undefined && ((await authorize(native, topic)) as unknown) !== true)
        return refuse(FORBIDDEN)
    const tenant = await this.#context.tenantOf(native)
    return await this.#streams.reply(x, {
      feeds: topics.map((topic) => this.#topics.feedSettings(topic, tenant, WHERE)),
      positions: readPositions(lastEventId(x)),
      user: this.#userOf(native, tenant),
      tenant,
    })
  }

  /** Returns the key of the user's places. Undefined: the user is not known. */
  #userOf(native: Native, tenant: string | undefined): string | undefined {
    const { user = (from: Native) => this.#context.identityOf(from).userId } = this.#options
    const id = user(native)
    return isNoUser(id) ? undefined : userKey(this.#context, id!, tenant, WHERE)
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
