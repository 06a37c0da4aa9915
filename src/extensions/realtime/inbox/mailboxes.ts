/** The messages of all users, and the announcements. */
import { TurnpikeError } from '../../../errors.ts'
import type { OperationArgument } from '../../../store/store.ts'
import type { UserId } from '../../../user-id.ts'
import { anyString, integer, validateOptions, type Validator } from '../../../validate.ts'
import { encodeData, type Topics } from '../channels/topics.ts'
import { parseStoredJson } from '../../../stored-json.ts'
import {
  addAnnouncement,
  readAnnouncements,
  readSeen,
  seeAnnouncements,
  withdrawAnnouncement,
} from './announcement-operations.ts'
import { countUnread, deleteMessages, markRead, pushMessage, readPage } from './operations.ts'
import type {
  Announcement,
  AnnounceOptions,
  AnnounceResult,
  InboxMessage,
  InboxPage,
  PageOptions,
  PushOptions,
  PushResult,
  UnreadCounts,
} from './options.ts'
import { keysOfAnnouncements, keysOfUser, messageName, messageNames } from './users.ts'

const WHERE = 'inbox()'
const PUSH: Record<string, Validator> = { id: anyString, tenant: anyString }
const PAGE: Record<string, Validator> = {
  cursor: {
    expected: '`next` of a page',
    accepts: (value) => typeof value === 'string' && /^\d{1,16}$/.test(value),
  },
  limit: integer(1, 100),
  tenant: anyString,
}
const TIME: Validator = {
  expected: 'a date, or milliseconds since the epoch',
  accepts: (value) => {
    const time = value instanceof Date ? value.getTime() : value
    return Number.isSafeInteger(time) && (time as number) > 0
  },
}
const ANNOUNCE: Record<string, Validator> = { ...PUSH, from: TIME, until: TIME }
/** Bytes after which a page ends. */
const PAGE_BYTES = 65_536
const MAX_ANNOUNCEMENTS = 50
const MAX_ANNOUNCEMENT_BYTES = 4096
/** Longest time for which an announcement is shown: 90 days, in ms. */
const MAX_SHOWN = 90 * 86_400_000
/** Announcements that are remembered as read: those that were withdrawn are among them. */
const MAX_SEEN = 200

export interface MailboxSettings {
  /** Time to live of a message, in ms. */
  readonly ttl: number
  readonly max: number
}

/** Which messages were read. */
export interface ReadMark {
  readonly ids?: string | readonly string[]
  readonly upTo?: string
  readonly all?: true
}

export class Mailboxes {
  readonly #topics: Topics
  readonly #settings: MailboxSettings

  constructor(topics: Topics, settings: MailboxSettings) {
    this.#topics = topics
    this.#settings = settings
  }

  async push(user: UserId, data: unknown, call: PushOptions = {}): Promise<PushResult> {
    const where = `${WHERE}.push()`
    validateOptions(where, call, PUSH)
    const { feed, keys } = keysOfUser(this.#topics, user, call.tenant, where)
    const id = messageName(call.id, where)
    const { max, ttl } = this.#settings
    const args = [id, encodeData(data, where), max, ttl, ...this.#topics.appendArgs(feed)]
    const [isNew, unread] = await this.#store.run(pushMessage, keys, args)
    return { id, isNew: isNew === 1, unread: unread! }
  }

  async page<Data>(user: UserId, call: PageOptions = {}): Promise<InboxPage<Data>> {
    const where = `${WHERE}.page()`
    validateOptions(where, call, PAGE)
    const { cursor = '', limit = 20, tenant } = call
    const { keys } = keysOfUser(this.#topics, user, tenant, where)
    const [reply, announcements] = await Promise.all([
      this.#store.run(readPage, keys, [cursor, limit, PAGE_BYTES, this.#settings.ttl]),
      this.#announcements(user, tenant, where),
    ])
    const [unread, next, ...parts] = reply
    const messages: InboxMessage<Data>[] = []
    for (let i = 0; i + 1 < parts.length; i += 2) {
      const message = this.#parse(`{${parts[i]},"read":${parts[i + 1] === 0}}`)
      if (message !== undefined) messages.push(message as InboxMessage<Data>)
    }
    return {
      messages,
      announcements,
      unread: { messages: Number(unread), announcements: countOf(announcements) },
      next: next === '' ? undefined : String(next),
    }
  }

  async unread(user: UserId, tenant: string | undefined): Promise<UnreadCounts> {
    const { announcements, messages } = await this.count(user, tenant, `${WHERE}.unread()`)
    return { messages, announcements }
  }

  /** Returns what is unread, and the position in the user's topic at which that is so. */
  async count(
    user: UserId,
    tenant: string | undefined,
    where: string,
  ): Promise<UnreadCounts & { readonly position: string }> {
    const { keys } = keysOfUser(this.#topics, user, tenant, where)
    const [[unread, last, now], announcements] = await Promise.all([
      this.#store.run(countUnread, keys, [this.#settings.ttl]),
      this.#announcements(user, tenant, where),
    ])
    return {
      messages: Number(unread),
      announcements: countOf(announcements),
      position: String(last === '' ? now : last),
    }
  }

  /** Returns the number of unread messages. */
  async read(
    user: UserId,
    { all, ids, upTo }: ReadMark,
    tenant: string | undefined,
  ): Promise<number> {
    const where = `${WHERE}.read()`
    const { feed, keys } = keysOfUser(this.#topics, user, tenant, where)
    const names = all === true ? [] : messageNames(upTo ?? ids, where)
    const how = all === true ? 'all' : upTo === undefined ? 'ids' : 'upTo'
    const args = [how, this.#settings.ttl, ...this.#topics.appendArgs(feed), ...names]
    return await this.#store.run(markRead, keys, args)
  }

  async readAnnouncements(user: UserId, tenant: string | undefined): Promise<void> {
    const where = `${WHERE}.readAnnouncements()`
    const { seen } = keysOfUser(this.#topics, user, tenant, where)
    const pairs = (await this.#announcements(user, tenant, where))
      .filter(({ read }) => !read)
      .flatMap(({ id, until }): OperationArgument[] => [id, until])
    if (pairs.length > 0) await this.#store.run(seeAnnouncements, [seen], [MAX_SEEN, ...pairs])
  }

  async delete(
    user: UserId,
    ids: string | readonly string[],
    tenant: string | undefined,
  ): Promise<{ deleted: number; unread: number }> {
    const where = `${WHERE}.delete()`
    const { feed, keys } = keysOfUser(this.#topics, user, tenant, where)
    const names = messageNames(ids, where)
    const { max, ttl } = this.#settings
    const args = [max, ttl, ...this.#topics.appendArgs(feed), ...names]
    const [deleted, unread] = await this.#store.run(deleteMessages, keys, args)
    return { deleted: deleted!, unread: unread! }
  }

  async announce(data: unknown, call: AnnounceOptions = {}): Promise<AnnounceResult> {
    const where = `${WHERE}.announce()`
    validateOptions(where, call, ANNOUNCE)
    const { feed, keys } = keysOfAnnouncements(this.#topics, call.tenant, where)
    const id = messageName(call.id, where)
    const json = encodeData(data, where)
    if (Buffer.byteLength(json) > MAX_ANNOUNCEMENT_BYTES)
      throw new TurnpikeError(
        'TP_VALUE',
        `${where}: the data must be a value that JSON can hold in ${MAX_ANNOUNCEMENT_BYTES} bytes.`,
      )
    const times = [timeOf(call.from), timeOf(call.until)]
    const args = [
      id,
      json,
      ...times,
      MAX_SHOWN,
      MAX_ANNOUNCEMENTS,
      ...this.#topics.appendArgs(feed),
    ]
    const result = await this.#store.run(addAnnouncement, keys, args)
    if (result === -1)
      throw new TurnpikeError(
        'TP_LIMITED',
        `${where}: there are ${MAX_ANNOUNCEMENTS} announcements already. Withdraw one, or let their time end.`,
        { status: 503 },
      )
    if (result === -2)
      throw new TurnpikeError(
        'TP_VALUE',
        `${where}: until must be in the future, after from, and at most 90 days after the announcement is first shown.`,
      )
    return { id, isNew: result === 1 }
  }

  async withdraw(id: string, tenant: string | undefined): Promise<boolean> {
    const where = `${WHERE}.withdraw()`
    const { feed, keys } = keysOfAnnouncements(this.#topics, tenant, where)
    const args = [messageName(id, where), ...this.#topics.appendArgs(feed)]
    return (await this.#store.run(withdrawAnnouncement, keys, args)) === 1
  }

  get #store(): Topics['context']['store'] {
    return this.#topics.context.store
  }

  /** Returns the announcements that are shown now, as a user sees them. */
  async #announcements(
    user: UserId,
    tenant: string | undefined,
    where: string,
  ): Promise<Announcement[]> {
    const { keys } = keysOfAnnouncements(this.#topics, tenant, where)
    const { seen } = keysOfUser(this.#topics, user, tenant, where)
    const [announced, known] = await Promise.all([
      this.#store.run(readAnnouncements, keys, []),
      this.#store.run(readSeen, [seen], []),
    ])
    return announced.flatMap((members) => {
      const announcement = this.#parse(`{${members}}`) as Omit<Announcement, 'read'> | undefined
      return announcement ? [{ ...announcement, read: known.includes(announcement.id) }] : []
    })
  }

  /** Reads JSON. Anyone with access to Redis can write what is none: it is reported. */
  #parse(json: string): unknown {
    try {
      return parseStoredJson(json)
    } catch (error) {
      this.#topics.context.events.emit('error', { feature: 'inbox', name: 'inbox', error })
      return undefined
    }
  }
}

const countOf = (announcements: readonly Announcement[]): number =>
  announcements.filter(({ read }) => !read).length

/** Returns a time in ms since the epoch; 0 for none. */
const timeOf = (time: Date | number | undefined): number => Number(time ?? 0)
