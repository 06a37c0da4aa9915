import { operation, type Operation } from '../../store/store.ts'
import lua from './reset.lua'

/**
 * Forgets what a subject has used, and tells the other processes. Keys: the states. Arguments:
 * channel ('': tell nobody), message. Replies how many of the keys were there.
 */
export const reset: Operation<number> = operation({
  name: 'reset',
  lua,
  memory(database, keys, [channel, message]) {
    const count = keys.filter((key) => database.delete(key)).length
    if (channel !== '') database.publish(String(channel), String(message))
    return count
  },
})
