/** Live messages over the store: what `turnpike/realtime` offers. */
import { extension, type ExtensionContext, type Instance } from '../../extension.ts'
import { createChannels } from './channels/index.ts'
import type { Channels, ChannelsOptions } from './channels/options.ts'

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
export function channels(tp: Instance, options: ChannelsOptions = {}): Channels {
  return createChannels(contextOf(tp), options)
}
