import { operation, type Operation } from '../../../store/store.ts'
import lua from './reset.lua'

/**
 * Deletes the states of a subject, and publishes that to the other processes. Keys: the states.
 * Arguments: channel ('': publish nothing), message. Replies how many of the keys existed.
 */
export const resetPolicies: Operation<number> = operation({
  name: 'resetPolicies',
  lua,
  memory(database, keys, [channel, message]) {
    const count = keys.filter((key) => database.delete(key)).length
    if (channel !== '') database.publish(String(channel), String(message))
    return count
  },
})
