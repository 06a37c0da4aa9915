/** Live messages over the store: what `turnpike/realtime` offers. */
import { extension, type ExtensionContext, type Instance } from '../../extension.ts'
import { createChannels, topicsOf } from './channels/index.ts'
import type { Channels, ChannelsOptions } from './channels/options.ts'
import { createInbox } from './inbox/index.ts'
import type { Inbox, InboxOptions } from './inbox/options.ts'
import { createPresence } from './presence/index.ts'
import type { Presence, PresenceOptions } from './presence/options.ts'
import { createProgress } from './progress/index.ts'
import type { ProgressOptions, ProgressTracker } from './progress/options.ts'
import { createSse } from './sse/index.ts'
import type { SseControl, SseOptions } from './sse/options.ts'
import { createSubscriptions } from './subscriptions/index.ts'
import type { UserSubscriptions, UserSubscriptionsOptions } from './subscriptions/options.ts'

const contextOf = <Native, Middleware>(
  tp: Instance<Native, Middleware>,
): ExtensionContext<Native, Middleware> => extension(tp, 'realtime', (context) => context)

/**
 * Creates channels: messages by topic, to all processes, in order and with a history. A subscriber
 * that was away continues where it was.
 *
 * @param tp the instance that `turnpike()` returned
 * @throws TP_OPTION for an option that cannot be used
 * @see docs/realtime.md
 * @example
 * const live = channels(tp, { history: { max: 1000, ttl: '1h' } })
 * await live.publish(`campaign:${id}`, { type: 'published' })
 * for await (const { data, gap } of live.subscribe(`campaign:${id}`, { signal })) render(data)
 */
export function channels<Native, Middleware>(
  tp: Instance<Native, Middleware>,
  options: ChannelsOptions = {},
): Channels<Native, Middleware> {
  return createChannels(contextOf(tp), options)
}

/**
 * Creates the inbox of each user: messages with an unread count that is always right, and
 * announcements to all. Each change is published, and a router shows it.
 *
 * @param live what `channels(tp)` returned, with a history
 * @throws TP_OPTION for an option that cannot be used
 * @see docs/realtime.md
 * @example
 * const mails = inbox(live, { ttl: '7d', max: 500 })
 * await mails.push(userId, { type: 'done', title }, { id: `done:${job.id}` })
 * app.use('/inbox', mails.router())
 */
export function inbox<Native, Middleware>(
  live: Channels<Native, Middleware>,
  options: InboxOptions = {},
): Inbox<Native, Middleware> {
  return createInbox(topicsOf(live, 'inbox()'), options)
}

/**
 * Creates a middleware that notes who is online: in the background, at most once in a third of
 * `ttl` for each user and process. Mount it behind the middleware that knows the user.
 *
 * @param live what `channels(tp)` returned, with a history
 * @throws TP_OPTION for an option that cannot be used
 * @see docs/realtime.md
 * @example
 * const users = presence(live, { ttl: '5m' })
 * app.use(users)
 * const { users: names } = await users.online({ limit: 50 })
 */
export function presence<Native, Middleware extends object>(
  live: Channels<Native, Middleware>,
  options: PresenceOptions<Native> = {},
): Middleware & Presence {
  return createPresence(topicsOf(live, 'presence()'), options)
}

/**
 * Creates the progress of tasks: a percentage, costs and the time that is left. Each change is
 * published, and shown by a router.
 *
 * @param live what `channels(tp)` returned, with a history
 * @throws TP_OPTION for an option that cannot be used
 * @see docs/realtime.md
 * @example
 * const job = progress(live).of('workflow_123', { total: 5 })
 * await job.start()
 * await job.step('content_generation', { cost: 0.02 })
 */
export function progress<Native, Middleware>(
  live: Channels<Native, Middleware>,
  options: ProgressOptions = {},
): ProgressTracker<Native, Middleware> {
  return createProgress(topicsOf(live, 'progress()'), options)
}

/**
 * Creates a middleware that sends the messages of topics as server-sent events. A browser's
 * EventSource that was disconnected continues where it was, in every topic.
 *
 * @param live what `channels(tp)` returned
 * @throws TP_OPTION for an option that cannot be used
 * @see docs/realtime.md
 * @example
 * app.get('/stream', sse(live, { topics: (req) => [`user:${req.user.id}`, 'system'] }))
 */
export function sse<Native, Middleware extends object>(
  live: Channels<Native, Middleware>,
  options: SseOptions<Native>,
): Middleware & SseControl {
  return createSse(topicsOf(live, 'sse()'), options)
}

/**
 * Creates a set of strings for each user: the topics that the user follows, or the push tokens of the
 * user's devices.
 *
 * @param tp the instance that `turnpike()` returned
 * @throws TP_OPTION for an option that cannot be used
 * @see docs/realtime.md
 * @example
 * const followed = subscriptions(tp)
 * await followed.add(user.id, `campaign:${id}`)
 * app.get('/stream', sse(live, { topics: (req) => followed.list(req.user.id) }))
 */
export function subscriptions<Native, Middleware>(
  tp: Instance<Native, Middleware>,
  options: UserSubscriptionsOptions = {},
): UserSubscriptions {
  return createSubscriptions(contextOf(tp), options)
}
