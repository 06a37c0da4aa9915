/** Messages of users: `inbox()`. */
import { durationOption, durationValidator } from '../../../duration.ts'
import type { UserId } from '../../../user-id.ts'
import {
  anyString,
  integer,
  optionError,
  optionRuleError,
  validateOptions,
} from '../../../validate.ts'
import type { Topics } from '../channels/topics.ts'
import type { Inbox, InboxCallOptions, InboxOptions, InboxPage, PageOptions } from './options.ts'
import { Mailboxes } from './mailboxes.ts'
import { createInboxRouter } from './router.ts'
import { topicOfUser } from './users.ts'

const WHERE = 'inbox()'
/** Longest time to live: a year, in ms. */
const MAX_TTL = 365 * 86_400_000

/** @throws TP_OPTION for an option that cannot be used */
export function createInbox<Native, Middleware>(
  topics: Topics<Native, Middleware>,
  options: InboxOptions,
): Inbox<Native, Middleware> {
  validateOptions(WHERE, options, { ttl: durationValidator, max: integer(1, 5000) })
  const given = options.ttl ?? '7d'
  const ttl = durationOption(given, WHERE, 'ttl', 1000)
  if (ttl > MAX_TTL) throw optionError(WHERE, 'ttl', given, 'at most 365 days')
  if (topics.settings.max === 0)
    throw optionRuleError(
      WHERE,
      'history',
      false,
      'inbox() needs channels with a history. Leave out `history: false`.',
    )
  const settings = { ttl, max: options.max ?? 500 }
  const { context } = topics
  context.claimName({ where: WHERE, kind: 'inbox', name: 'inbox', isExplicit: true, settings })
  const boxes = new Mailboxes(topics, settings)
  const tenantOf = (call: InboxCallOptions | undefined, where: string): string | undefined => {
    if (call !== undefined) validateOptions(where, call, { tenant: anyString })
    return call?.tenant
  }
  return {
    push: (user, data, call) => boxes.push(user, data, call),
    page<Data>(user: UserId, call?: PageOptions): Promise<InboxPage<Data>> {
      return boxes.page<Data>(user, call)
    },
    unread: async (user, call) => await boxes.unread(user, tenantOf(call, `${WHERE}.unread()`)),
    read: async (user, ids, call) =>
      await boxes.read(user, { ids }, tenantOf(call, `${WHERE}.read()`)),
    readUpTo: async (user, upTo, call) =>
      await boxes.read(user, { upTo }, tenantOf(call, `${WHERE}.readUpTo()`)),
    readAll: async (user, call) =>
      await boxes.read(user, { all: true }, tenantOf(call, `${WHERE}.readAll()`)),
    readAnnouncements: async (user, call) =>
      await boxes.readAnnouncements(user, tenantOf(call, `${WHERE}.readAnnouncements()`)),
    delete: async (user, ids, call) =>
      (await boxes.delete(user, ids, tenantOf(call, `${WHERE}.delete()`))).deleted,
    announce: (data, call) => boxes.announce(data, call),
    withdraw: async (id, call) => await boxes.withdraw(id, tenantOf(call, `${WHERE}.withdraw()`)),
    topicOf: (user) => topicOfUser(user, `${WHERE}.topicOf()`),
    router: (call) => createInboxRouter(topics, boxes, call),
  }
}
