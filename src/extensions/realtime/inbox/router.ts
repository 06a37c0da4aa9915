/** `inbox().router()`: a user's own inbox over HTTP. */
import { TurnpikeError } from '../../../errors.ts'
import type { Exchange, Feature, Plan } from '../../../http/exchange.ts'
import { passThrough } from '../../../http/exchange.ts'
import { problemReply } from '../../../http/problem.ts'
import type { Refusal } from '../../../http/refusal.ts'
import { peekBody } from '../../../http/request-body.ts'
import { isNoUser, type UserId } from '../../../user-id.ts'
import { callback, isObject, validateOptions } from '../../../validate.ts'
import type { Message } from '../channels/message.ts'
import type { Topics } from '../channels/topics.ts'
import { jsonPlan, pathOption, unavailablePlan, segmentsBelow, wrongMethod } from '../router.ts'
import { isFromOtherSite } from '../same-origin.ts'
import { frame, type EventFraming } from '../sse/frame.ts'
import { lastEventId, readPositions, topicDigest, writePositions } from '../sse/positions.ts'
import { MountedStreams, STREAM_DEFAULTS } from '../sse/mounted-streams.ts'
import type { StreamControl } from '../sse/options.ts'
import { userKey } from '../sse/user-streams.ts'
import type { Mailboxes, ReadMark } from './mailboxes.ts'
import type { InboxRouterOptions } from './options.ts'
import { areMessageNames, isMessageName, keysOfAnnouncements, keysOfUser } from './users.ts'

const WHERE = 'inbox().router()'
/** Longest body of `POST /read`, in bytes. */
const MAX_BODY_BYTES = 16_384

const ANONYMOUS: Refusal = {
  status: 401,
  code: 'TP_UNAUTHENTICATED',
  detail: 'Log in to read your messages.',
}
const OTHER_SITE: Refusal = {
  status: 403,
  code: 'TP_FORBIDDEN',
  detail: 'Requests of other sites change nothing here.',
}
const INVALID_PAGE: Refusal = {
  status: 400,
  code: 'TP_VALUE',
  detail: 'cursor must be `next` of a page, and limit an integer from 1 to 100.',
}
const INVALID_MARK: Refusal = {
  status: 400,
  code: 'TP_VALUE',
  detail:
    'The body must be one of {"ids":[…]}, {"upTo":"…"}, {"all":true} and {"announcements":true}.',
}

/** Kinds of messages that are published. */
const TYPES: readonly unknown[] = ['push', 'read', 'delete', 'announcement', 'withdraw']

const framing: EventFraming = {
  of(_topic: string, { json }: Message): string | undefined {
    // It must be one of ours. Anyone with access to Redis can publish.
    const published: unknown = JSON.parse(json)
    if (!isObject(published) || !TYPES.includes(published['type'])) return undefined
    const { type, ...content } = published
    return frame(JSON.stringify(content), String(type))
  },
  gap: () => frame('null', 'gap'),
}

/** Who asks. */
interface Reader {
  readonly user: UserId
  readonly tenant: string | undefined
}

/** @throws TP_OPTION for an option that cannot be used */
export function createInboxRouter<Native, Middleware>(
  topics: Topics<Native, Middleware>,
  boxes: Mailboxes,
  options: InboxRouterOptions<Native> = {},
): Middleware & StreamControl {
  validateOptions(WHERE, options, { user: callback, path: pathOption, reply: callback })
  const streams = new MountedStreams(topics, framing, STREAM_DEFAULTS)
  return streams.control(topics.context.mount(new InboxRouter(topics, boxes, streams, options)))
}

class InboxRouter<Native> implements Feature<Native> {
  readonly name = 'inbox'
  readonly #topics: Topics<Native>
  readonly #boxes: Mailboxes
  readonly #options: InboxRouterOptions<Native>
  readonly #streams: MountedStreams

  constructor(
    topics: Topics<Native>,
    boxes: Mailboxes,
    streams: MountedStreams,
    options: InboxRouterOptions<Native>,
  ) {
    this.#topics = topics
    this.#boxes = boxes
    this.#options = options
    this.#streams = streams
  }

  handle(x: Exchange<Native>): Plan | Promise<Plan> {
    const segments = segmentsBelow(x, this.#options.path ?? '/inbox')
    if (segments === undefined || segments.length > 1) return passThrough
    const [name = ''] = segments
    const isGet = x.method === 'GET' || x.method === 'HEAD'
    if (name === '')
      return isGet ? this.#serve(x, (reader) => this.#page(x, reader)) : wrongMethod(x, READS)
    if (name === 'stream' && isGet) return this.#serve(x, (reader) => this.#stream(x, reader))
    if (name === 'read' && x.method === 'POST')
      return this.#serve(x, (reader) => this.#mark(x, reader))
    if (x.method === 'DELETE' && isMessageName(name))
      return this.#serve(x, (reader) => this.#delete(x, reader, name))
    if (!isMessageName(name)) return passThrough
    return wrongMethod(
      x,
      name === 'stream' ? [...READS, 'DELETE'] : name === 'read' ? ['POST', 'DELETE'] : ['DELETE'],
    )
  }

  async #serve(x: Exchange<Native>, reply: (reader: Reader) => Promise<Plan>): Promise<Plan> {
    const { context } = this.#topics
    try {
      const { user = (from: Native) => context.identityOf(from).userId } = this.#options
      const id = user(x.native)
      if (isNoUser(id)) return this.#refuse(ANONYMOUS)
      return await reply({ user: id!, tenant: await context.tenantOf(x.native) })
    } catch (error) {
      return unavailablePlan(error, context, 'inbox', 'Messages cannot be read now.')
    }
  }

  #refuse(refusal: Refusal): Plan {
    return { refusal, replyWith: this.#options.reply }
  }

  async #page(x: Exchange<Native>, { tenant, user }: Reader): Promise<Plan> {
    const mark = x.url.indexOf('?')
    const query = new URLSearchParams(mark < 0 ? '' : x.url.slice(mark))
    const [cursor, limit] = [query.get('cursor') ?? undefined, query.get('limit')]
    try {
      const page = await this.#boxes.page(user, {
        cursor,
        ...(limit !== null && { limit: /^\d+$/.test(limit) ? Number(limit) : Number.NaN }),
        ...(tenant !== undefined && { tenant }),
      })
      return jsonPlan(page)
    } catch (error) {
      if (error instanceof TurnpikeError && error.code === 'TP_OPTION')
        return this.#refuse(INVALID_PAGE)
      throw error
    }
  }

  async #mark(x: Exchange<Native>, { tenant, user }: Reader): Promise<Plan> {
    if (isFromOtherSite(x)) return this.#refuse(OTHER_SITE)
    // A form of another site cannot send this type without asking first.
    if (!/^application\/json\s*(?:;|$)/i.test(x.header('content-type') ?? ''))
      return { reply: problemReply({ title: 'Unsupported Media Type', status: 415 }, x) }
    const body = await readJson(x)
    if (isObject(body) && body['announcements'] === true && Object.keys(body).length === 1)
      await this.#boxes.readAnnouncements(user, tenant)
    else {
      const mark = readMark(body)
      if (mark === undefined) return this.#refuse(INVALID_MARK)
      await this.#boxes.read(user, mark, tenant)
    }
    return jsonPlan({ unread: await this.#boxes.unread(user, tenant) })
  }

  async #delete(x: Exchange<Native>, { tenant, user }: Reader, id: string): Promise<Plan> {
    if (isFromOtherSite(x)) return this.#refuse(OTHER_SITE)
    const { deleted } = await this.#boxes.delete(user, id, tenant)
    if (deleted === 0) return { reply: problemReply({ title: 'Not Found', status: 404 }, x) }
    return jsonPlan({ unread: await this.#boxes.unread(user, tenant) })
  }

  async #stream(x: Exchange<Native>, { tenant, user }: Reader): Promise<Plan> {
    const { feed } = keysOfUser(this.#topics, user, tenant, WHERE)
    const { feed: announcements } = keysOfAnnouncements(this.#topics, tenant, WHERE)
    const key = userKey(this.#topics.context, user, tenant, WHERE)
    const feeds = [feed, announcements]
    const known = readPositions(lastEventId(x))
    const digest = topicDigest(feed.topic)
    if (known.has(digest))
      return await this.#streams.reply(x, {
        feeds,
        positions: known,
        user: key,
        tenant,
      })
    const { position, ...unread } = await this.#boxes.count(user, tenant, WHERE)
    // The count and the position are of one moment: what follows is after both.
    const positions = new Map([[digest, position]])
    const first = `id: ${writePositions(positions)}\n${frame(JSON.stringify({ unread }), 'unread')}`
    return await this.#streams.reply(x, { feeds, positions, first, user: key, tenant })
  }
}

const READS = ['GET', 'HEAD']

/** Returns what a body says was read. Undefined for anything else. */
function readMark(body: unknown): ReadMark | undefined {
  if (!isObject(body) || Object.keys(body).length !== 1) return undefined
  const { all, ids, upTo } = body
  if (all === true) return { all }
  if (isMessageName(upTo)) return { upTo }
  return areMessageNames(ids) ? { ids } : undefined
}

/** Returns the body as JSON, whether a body parser has read it or not. Undefined for anything else. */
async function readJson(x: Exchange): Promise<unknown> {
  const body = await peekBody(x.native, MAX_BODY_BYTES)
  if (body.kind === 'parsed') return body.value
  if (body.kind === 'unseen' || !body.isWhole) return undefined
  try {
    return JSON.parse(body.bytes.toString()) as unknown
  } catch {
    return undefined
  }
}
