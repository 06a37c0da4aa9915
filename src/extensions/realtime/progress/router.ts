/** `progress().router()`: states over HTTP. */
import type { Exchange, Feature, Plan } from '../../../http/exchange.ts'
import { passThrough } from '../../../http/exchange.ts'
import { problemReply } from '../../../http/problem.ts'
import type { FeedSettings } from '../channels/feed.ts'
import { compareIds, timeOf, type Message } from '../channels/message.ts'
import type { Topics } from '../channels/topics.ts'
import { isNoUser, USER_ID, userIdString } from '../../../user-id.ts'
import { jsonPlan, unavailablePlan, segmentsBelow, wrongMethod } from '../router.ts'
import { frame, type EventFraming } from '../sse/frame.ts'
import { lastEventId, readPositions, topicDigest, writePositions } from '../sse/positions.ts'
import { MountedStreams, STREAM_DEFAULTS } from '../sse/mounted-streams.ts'
import type { StreamControl } from '../sse/options.ts'
import { userKey } from '../sse/user-streams.ts'
import { readProgress } from './operations.ts'
import type { ProgressRouterOptions, ProgressState } from './options.ts'
import { hasFinished, parseState } from './state.ts'

const WHERE = 'progress().router()'

/** Keys of one progress. */
export interface ProgressKeys {
  readonly feed: FeedSettings
  readonly key: string
}

/** What the router needs to find a progress. */
export type FindProgress = (id: string, tenant: string | undefined) => ProgressKeys | undefined

const notFound = (x: Exchange): Plan => ({
  reply: problemReply({ title: 'Not Found', status: 404 }, x),
})

const lines = (state: ProgressState): string =>
  frame(JSON.stringify(state), hasFinished(state) ? 'end' : 'progress')

/** A progress ends its stream with its last state. */
const framing: EventFraming = {
  of(_topic: string, { json }: Message): string | undefined {
    const state = parseState(json)
    return state && lines(state)
  },
  gap: () => frame('null', 'gap'),
  isLast({ json }: Message): boolean {
    const state = parseState(json)
    return state !== undefined && hasFinished(state)
  },
}

/** A state, and the position in its topic at which it is so. */
interface Found {
  readonly state: ProgressState
  /** ID of the latest message; '' if its history has expired. */
  readonly last: string
  readonly now: string
  /** Key of the user who reads it. */
  readonly user: string | undefined
  readonly tenant: string | undefined
}

/** Mounts the router. The options must be validated already. */
export function mountProgressRouter<Native, Middleware>(
  topics: Topics<Native, Middleware>,
  options: ProgressRouterOptions<Native>,
  find: FindProgress,
): Middleware & StreamControl {
  const streams = new MountedStreams(topics, framing, STREAM_DEFAULTS)
  return streams.control(topics.context.mount(new ProgressRouter(topics, options, find, streams)))
}

class ProgressRouter<Native> implements Feature<Native> {
  readonly name = 'progress'
  readonly #topics: Topics<Native>
  readonly #options: ProgressRouterOptions<Native>
  readonly #find: FindProgress
  readonly #streams: MountedStreams

  constructor(
    topics: Topics<Native>,
    options: ProgressRouterOptions<Native>,
    find: FindProgress,
    streams: MountedStreams,
  ) {
    this.#topics = topics
    this.#options = options
    this.#find = find
    this.#streams = streams
  }

  handle(x: Exchange<Native>): Plan | Promise<Plan> {
    const [id, action, ...rest] = segmentsBelow(x, this.#options.path ?? '/progress') ?? []
    const isRoute = action === undefined || action === 'stream'
    if (id === undefined || id === '' || !isRoute || rest.length > 0) return passThrough
    if (x.method !== 'GET' && x.method !== 'HEAD') return wrongMethod(x, ['GET', 'HEAD'])
    return this.#serve(x, id, action === 'stream')
  }

  async #serve(x: Exchange<Native>, id: string, isStream: boolean): Promise<Plan> {
    const { context } = this.#topics
    try {
      const tenant = await context.tenantOf(x.native)
      const keys = this.#find(id, tenant)
      // A stranger must not learn that the progress exists.
      const isAllowed = ((await this.#options.authorize(x.native, id)) as unknown) === true
      if (keys === undefined || !isAllowed) return notFound(x)
      const { feed, key } = keys
      const [view = '', last = '', now = ''] = await context.store.run(
        readProgress,
        [key, feed.key],
        [],
      )
      const state = parseState(view)
      if (state === undefined) return notFound(x)
      if (!isStream) return jsonPlan(state)
      const user = this.#userKey(x, tenant)
      return await this.#stream(x, feed, { state, last, now, user, tenant })
    } catch (error) {
      return unavailablePlan(error, context, 'progress', 'The progress cannot be read now.')
    }
  }

  /** Returns the key of the user's places. Undefined: the user is not known. */
  #userKey(x: Exchange<Native>, tenant: string | undefined): string | undefined {
    const { context } = this.#topics
    const { userId } = context.identityOf(x.native)
    if (isNoUser(userId)) return undefined
    if (userIdString(userId) !== undefined) return userKey(context, userId!, tenant, WHERE)
    // The application cannot say who is meant: the stream is served, and not counted.
    context.events.warn(
      `${WHERE}: a user's ID of type ${typeof userId} is ignored, so the user's streams are not bounded. It must be ${USER_ID}.`,
    )
    return undefined
  }

  #stream(
    x: Exchange<Native>,
    feed: FeedSettings,
    { last, now, state, tenant, user }: Found,
  ): Plan | Promise<Plan> {
    const digest = topicDigest(feed.topic)
    const isOver = hasFinished(state)
    const seen = readPositions(lastEventId(x)).get(digest)
    // An EventSource connects again when a stream ends. 204 tells it to stop.
    if (isOver && seen !== undefined && hasSeen(seen, state, last))
      return { reply: { status: 204 } }
    // The state and the position are of one moment: what follows is after both.
    const positions = new Map([[digest, last || now]])
    const first = `id: ${writePositions(positions)}\n${lines(state)}`
    // The stream of a progress that has ended follows nothing.
    const feeds = isOver ? [] : [feed]
    return this.#streams.reply(x, { feeds, positions, first, user, tenant, isOver })
  }
}

/** Returns true if a client at this position has seen the last state. */
const hasSeen = (position: string, state: ProgressState, last: string): boolean =>
  last === '' ? timeOf(position) >= state.updatedAt : compareIds(position, last) >= 0
