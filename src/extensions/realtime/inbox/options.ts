/** Options and results of `inbox()`. */
import type { Duration } from '../../../duration.ts'
import type { ReplyFunction } from '../../../http/refusal.ts'
import type { UserId } from '../../../user-id.ts'
import type { StreamControl } from '../sse/options.ts'

/** Options of `inbox()`. */
export interface InboxOptions {
  /** How long a message is kept after its push. At most 365 days. @default '7d' */
  ttl?: Duration
  /** Most messages of a user. The oldest one makes room, also if it is unread. At most 5000. @default 500 */
  max?: number
}

/** Options of a call. */
export interface InboxCallOptions {
  /** Tenant of the users. Required if the application has tenants. */
  tenant?: string
}

/** Options of `push()`. */
export interface PushOptions extends InboxCallOptions {
  /**
   * ID of the message: up to 100 letters, digits and `_.:@-`, the first no dot. A second push with the
   * same ID changes nothing, also after the message was deleted. Set it where a push may be repeated.
   * @default a random one
   */
  id?: string
}

/** Result of `push()`. */
export interface PushResult {
  /** ID of the message. */
  readonly id: string
  /** False if a message with this ID was pushed before. */
  readonly isNew: boolean
  /** Number of unread messages of the user. */
  readonly unread: number
}

/** Options of `page()`. */
export interface PageOptions extends InboxCallOptions {
  /** `next` of the page before. @default the latest messages */
  cursor?: string | undefined
  /** Most messages of the page, from 1 to 100. Long messages make it shorter. @default 20 */
  limit?: number
}

/** A message of an inbox. */
export interface InboxMessage<Data = unknown> {
  /** ID of the message, within its user. */
  readonly id: string
  /** Time of the push, in ms since the epoch. Messages of one moment have different times. */
  readonly at: number
  /** What was pushed. */
  readonly data: Data
  /** True once it was read. */
  readonly read: boolean
}

/** A message to all users. */
export interface Announcement<Data = unknown> {
  /** ID of the announcement. */
  readonly id: string
  /** Time from which it is shown, in ms since the epoch. */
  readonly from: number
  /** Time until which it is shown, in ms since the epoch. */
  readonly until: number
  /** What was announced. */
  readonly data: Data
  /** True once this user has read it. */
  readonly read: boolean
}

/** Numbers of what a user has not read. */
export interface UnreadCounts {
  /** Unread messages. */
  readonly messages: number
  /** Unread announcements that are shown now. */
  readonly announcements: number
}

/** A page of an inbox. */
export interface InboxPage<Data = unknown> {
  /** Messages, the latest first. */
  readonly messages: readonly InboxMessage<Data>[]
  /** Announcements that are shown now, the latest first. Every page has them. */
  readonly announcements: readonly Announcement[]
  /** Numbers of unread messages and announcements, of all pages. */
  readonly unread: UnreadCounts
  /** Pass it as `cursor` for the next page. Undefined on the last page. */
  readonly next: string | undefined
}

/** Options of `announce()`. */
export interface AnnounceOptions extends InboxCallOptions {
  /** ID of the announcement, as that of a message. A second call with the same ID changes nothing. @default a random one */
  id?: string
  /** Time from which it is shown: a date, or ms since the epoch. @default now */
  from?: Date | number
  /** Time until which it is shown, at most 90 days after its begin. @default 90 days after its begin */
  until?: Date | number
}

/** Result of `announce()`. */
export interface AnnounceResult {
  /** ID of the announcement. */
  readonly id: string
  /** False if there is an announcement with this ID. */
  readonly isNew: boolean
}

/** Options of `inbox().router()`. */
export interface InboxRouterOptions<Native> {
  /** Returns the user. Requests without one get 401. @default `req.session.userId`, `req.user.id`, `ctx.state.user.id` */
  user?: (native: Native) => UserId | undefined | null
  /** Public path of the router, where the framework does not remove it. @default '/inbox' */
  path?: string
  /** Replies to a refused request in your own way. @default application/problem+json */
  reply?: ReplyFunction<Native>
}

/**
 * Messages of users. A user is a string of 1 to 200 characters, or a number. Each call costs one
 * round trip. All reject with TP_UNAVAILABLE within `commandTimeout` while Redis is away.
 */
export interface Inbox<Native = any, Middleware = any> {
  /**
   * Pushes a message to a user, and publishes it.
   * @param data a value that JSON can hold in 16 KiB
   * @throws TP_KEY, TP_VALUE, TP_UNAVAILABLE
   * @example
   * await mails.push(user.id, { type: 'done', title }, { id: `done:${job.id}` })
   */
  push(user: UserId, data: unknown, options?: PushOptions): Promise<PushResult>
  /**
   * Returns messages, the latest first, and the announcements.
   * @template Data of the messages. It is not checked.
   * @throws TP_KEY, TP_OPTION, TP_UNAVAILABLE
   */
  page<Data = any>(user: UserId, options?: PageOptions): Promise<InboxPage<Data>>
  /** Returns the numbers of unread messages and announcements. @throws TP_KEY, TP_UNAVAILABLE */
  unread(user: UserId, options?: InboxCallOptions): Promise<UnreadCounts>
  /**
   * Marks messages as read: one, or a list of at most 100. Unknown IDs are ignored.
   * @returns the number of unread messages
   * @throws TP_KEY, TP_UNAVAILABLE
   */
  read(user: UserId, ids: string | readonly string[], options?: InboxCallOptions): Promise<number>
  /** Marks a message and all older ones as read. @returns the number of unread messages @throws TP_KEY, TP_UNAVAILABLE */
  readUpTo(user: UserId, id: string, options?: InboxCallOptions): Promise<number>
  /** Marks all messages as read. @returns the number of unread messages: 0 @throws TP_KEY, TP_UNAVAILABLE */
  readAll(user: UserId, options?: InboxCallOptions): Promise<number>
  /** Marks the announcements that are shown now as read. Costs two round trips. @throws TP_KEY, TP_UNAVAILABLE */
  readAnnouncements(user: UserId, options?: InboxCallOptions): Promise<void>
  /**
   * Deletes messages: one, or a list of at most 100. Unknown IDs are ignored.
   * @returns the number of deleted messages
   * @throws TP_KEY, TP_UNAVAILABLE
   */
  delete(user: UserId, ids: string | readonly string[], options?: InboxCallOptions): Promise<number>
  /**
   * Announces something to all users. It is stored once. If its time has begun, it is published.
   * @param data a value that JSON can hold in 4 KiB
   * @throws TP_KEY, TP_VALUE, TP_UNAVAILABLE; TP_LIMITED if there are 50 announcements already
   */
  announce(data: unknown, options?: AnnounceOptions): Promise<AnnounceResult>
  /** Removes an announcement. Returns true if there was one. @throws TP_KEY, TP_UNAVAILABLE */
  withdraw(id: string, options?: InboxCallOptions): Promise<boolean>
  /** Topic to which the changes of a user's messages are published, for `live.subscribe()` and `sse()`. @throws TP_KEY */
  topicOf(user: UserId): string
  /**
   * Creates a router of the user's own inbox: `GET /`, `POST /read`, `DELETE /:id`, `GET /stream`.
   * Requests of other sites are refused. `size` and `endAll()` are of its streams.
   * @throws TP_OPTION
   */
  router(options?: InboxRouterOptions<Native>): Middleware & StreamControl
}
