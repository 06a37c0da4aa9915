/** Channels with a history, over an instance of any framework. */
export { channels } from './extensions/realtime/index.ts'
export type {
  ChannelCallOptions,
  ChannelMessage,
  Channels,
  ChannelsOptions,
  HistoryOptions,
  Subscription,
  SubscribeOptions,
} from './extensions/realtime/channels/options.ts'
