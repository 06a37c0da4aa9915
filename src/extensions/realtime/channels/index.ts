/** Channels: `channels()`. */
import { durationOption, durationValidator } from '../../../duration.ts'
import type { ExtensionContext } from '../../../extension.ts'
import {
  anyOf,
  anyString,
  integer,
  optionError,
  plainObject,
  validateOptions,
  type Validator,
} from '../../../validate.ts'
import { isMessageId } from './message.ts'
import {
  TOPICS,
  type ChannelCallOptions,
  type Channels,
  type ChannelsOptions,
  type SubscribeOptions,
} from './options.ts'
import { MessageQueue } from './subscription.ts'
import { encodeData, Topics } from './topics.ts'

const NONE: Validator = { expected: 'false', accepts: (value) => value === false }
const OPTIONS: Record<string, Validator> = {
  history: anyOf(plainObject, NONE),
  maxSubscriptions: integer(1, 1_000_000),
}
const HISTORY: Record<string, Validator> = { max: integer(1, 10_000), ttl: durationValidator }
const CALL: Record<string, Validator> = { tenant: anyString }
const SUBSCRIBE: Record<string, Validator> = {
  ...CALL,
  signal: { expected: 'an AbortSignal', accepts: (value) => value instanceof AbortSignal },
  after: { expected: "a message's ID, like '1767225600000-0'", accepts: isMessageId },
  highWater: integer(1, 1_000_000),
}
/** Longest time to live of a history: thirty days, in ms. */
const MAX_TTL = 30 * 86_400_000

/** @throws TP_OPTION for an option that cannot be used */
export function createChannels<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
  options: ChannelsOptions,
): Channels<Native, Middleware> {
  const where = 'channels()'
  validateOptions(where, options, OPTIONS)
  const { history = {}, maxSubscriptions = 10_000 } = options
  if (history !== false) validateOptions(`${where}: history`, history, HISTORY)
  const { max, ttl } =
    history === false ? { max: 0, ttl: 0 } : { max: 1000, ttl: '1h' as const, ...history }
  const life = history === false ? 0 : durationOption(ttl, where, 'history.ttl', 1000)
  if (life > MAX_TTL) throw optionError(where, 'history.ttl', ttl, 'at most 30 days')
  const settings = { max, ttl: life, maxSubscriptions }
  context.claimName({ where, kind: 'channels', name: 'topics', isExplicit: true, settings })
  const topics = context.once('topics', () => new Topics(context, settings))
  return {
    [TOPICS]: topics,
    async publish(topic: string, data: unknown, call: ChannelCallOptions = {}) {
      const at = 'channels().publish()'
      validateOptions(at, call, CALL)
      const feed = topics.feedSettings(topic, call.tenant, at)
      return await topics.publish(feed, encodeData(data, at))
    },
    subscribe<Data>(topic: string, call: SubscribeOptions = {}) {
      const at = 'channels().subscribe()'
      validateOptions(at, call, SUBSCRIBE)
      const { after, highWater = 1000, signal, tenant } = call
      const queue = new MessageQueue<Data>(topic, highWater, context.events)
      const end = topics.follow(topics.feedSettings(topic, tenant, at), queue, after)
      const abort = (): void => void queue.return()
      queue.onReturn = () => {
        signal?.removeEventListener('abort', abort)
        end()
      }
      if (signal?.aborted) abort()
      else signal?.addEventListener('abort', abort, { once: true })
      return queue
    },
  }
}

/** Returns the topics behind what `channels()` returned. @throws TP_OPTION */
export function topicsOf<Native, Middleware>(
  channels: Channels<Native, Middleware>,
  where: string,
): Topics<Native, Middleware> {
  const topics = (channels as Partial<Channels<Native, Middleware>> | undefined)?.[TOPICS]
  if (topics !== undefined) return topics as Topics<Native, Middleware>
  throw optionError(where, 'the first argument', channels, 'what channels() returned')
}
