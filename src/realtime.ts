/** Channels with a history, progress, and server-sent events, over an instance of any framework. */
export { channels, progress, sse } from './extensions/realtime/index.ts'
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
  Progress,
  ProgressChangeOptions,
  ProgressOfOptions,
  ProgressOptions,
  ProgressRouterOptions,
  ProgressState,
  ProgressTracker,
} from './extensions/realtime/progress/options.ts'
export type { EventContent } from './extensions/realtime/sse/frame.ts'
export type { SseControl, SseOptions } from './extensions/realtime/sse/options.ts'
