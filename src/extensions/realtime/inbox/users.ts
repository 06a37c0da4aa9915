/** Names and keys of an inbox. */
import { randomBytes } from 'node:crypto'
import { TurnpikeError } from '../../../errors.ts'
import { requireTenant } from '../../../store/subject.ts'
import { requireUserId, type UserId } from '../../../user-id.ts'
import { isListOf } from '../../../validate.ts'
import type { FeedSettings } from '../channels/feed.ts'
import type { Topics } from '../channels/topics.ts'

const MAX_USER_LENGTH = 200
const MAX_IDS = 100
/** Scripts write it into JSON: it contains nothing to escape. A path segment of dots would be removed. */
const ID = /^[\w:@-][\w.:@-]{0,99}$/

/** Topic of announcements. No user's topic begins so. */
export const ANNOUNCEMENTS_TOPIC = 'inbox-announcements'

/** Returns true for the ID of a message. */
export const isMessageName = (id: unknown): id is string => typeof id === 'string' && ID.test(id)

/** Returns true for the IDs of 1 to 100 messages. */
export const areMessageNames = (ids: unknown): ids is string[] =>
  isListOf(ids, isMessageName, 1, MAX_IDS)

/** Returns an ID, a random one if none is given. @throws TP_KEY */
export function messageName(id: string | undefined, where: string): string {
  if (id === undefined) return randomBytes(12).toString('hex')
  if (isMessageName(id)) return id
  throw new TurnpikeError(
    'TP_KEY',
    `${where}: the ID must be up to 100 letters, digits, '_', '.', ':', '@' or '-', the first no '.'.`,
  )
}

/** Returns a list of IDs. @throws TP_KEY */
export function messageNames(ids: string | readonly string[] | undefined, where: string): string[] {
  const list: unknown = typeof ids === 'string' ? [ids] : ids
  if (areMessageNames(list)) return list
  throw new TurnpikeError(
    'TP_KEY',
    `${where}: pass the ID of a message, or a list of 1 to ${MAX_IDS} of them.`,
  )
}

/** Returns the topic of a user. @throws TP_KEY for what names no user */
export function topicOfUser(user: UserId, where: string): string {
  const name = requireUserId(user, where)
  if (name.length <= MAX_USER_LENGTH && name.isWellFormed()) return `inbox:${name}`
  throw new TurnpikeError(
    'TP_KEY',
    `${where}: the user must have at most ${MAX_USER_LENGTH} characters, and no lone surrogates.`,
  )
}

/** Keys of a user's messages, or of announcements. */
export interface InboxKeys {
  readonly feed: FeedSettings
  /** As scripts want them. The last one is the topic's. */
  readonly keys: readonly string[]
  /** Key of the announcements that the user has read. */
  readonly seen: string
}

/** Returns the keys of a user. All share a hash slot. @throws TP_KEY */
export function keysOfUser(
  topics: Topics,
  user: UserId,
  tenant: string | undefined,
  where: string,
): InboxKeys {
  const topic = topicOfUser(user, where)
  const feed = topics.feedSettings(topic, tenant, where)
  const { context } = topics
  const tag = context.keys.tag(topic, requireTenant(context, tenant, where))
  const keyOf = (sub?: string): string => context.keys.key('inbox', tag, sub)
  const keys = [keyOf(), keyOf('messages'), keyOf('unread'), keyOf('removed'), feed.key]
  return { feed, keys, seen: keyOf('seen') }
}

/** Returns the keys of the announcements. All share a hash slot. @throws TP_KEY */
export function keysOfAnnouncements(
  topics: Topics,
  tenant: string | undefined,
  where: string,
): Omit<InboxKeys, 'seen'> {
  const feed = topics.feedSettings(ANNOUNCEMENTS_TOPIC, tenant, where)
  const { context } = topics
  const tag = context.keys.tag(ANNOUNCEMENTS_TOPIC, requireTenant(context, tenant, where))
  const keyOf = (sub?: string): string => context.keys.key('announced', tag, sub)
  return { feed, keys: [keyOf(), keyOf('until'), keyOf('messages'), feed.key] }
}
