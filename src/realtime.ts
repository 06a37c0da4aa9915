/** Channels with a history, inboxes, presence, progress, subscriptions and server-sent events, over an instance of any framework. */
export {
  channels,
  inbox,
  presence,
  progress,
  sse,
  subscriptions,
} from './extensions/realtime/index.ts'
export type {
  ChannelCallOptions,
  ChannelMessage,
  Channels,
  ChannelsOptions,
  HistoryOptions,
  Subscription,
  SubscribeOptions,
} from './extensions/realtime/channels/options.ts'
export type {
  Announcement,
  AnnounceOptions,
  AnnounceResult,
  Inbox,
  InboxCallOptions,
  InboxMessage,
  InboxOptions,
  InboxPage,
  InboxRouterOptions,
  PageOptions,
  PushOptions,
  PushResult,
  UnreadCounts,
} from './extensions/realtime/inbox/options.ts'
export type {
  OnlineOptions,
  OnlinePage,
  Presence,
  PresenceCallOptions,
  PresenceConnection,
  PresenceOptions,
} from './extensions/realtime/presence/options.ts'
export type {
  FollowedJob,
  Progress,
  ProgressChangeOptions,
  ProgressOfOptions,
  ProgressOptions,
  ProgressRouterOptions,
  ProgressState,
  ProgressTracker,
} from './extensions/realtime/progress/options.ts'
export type { EventContent } from './extensions/realtime/sse/frame.ts'
export type { SseControl, SseOptions, StreamControl } from './extensions/realtime/sse/options.ts'
export type {
  UserSubscriptions,
  UserSubscriptionsCallOptions,
  UserSubscriptionsOptions,
} from './extensions/realtime/subscriptions/options.ts'
