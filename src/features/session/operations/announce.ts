import { operation, type Operation } from '../../../store/store.ts'
import type { StoredText } from './user-index.ts'
import lua from './announce.lua'

/** Publishes a message of a process to itself. See announce.lua. */
export const announce: Operation<number> = operation({
  name: 'session.announce',
  lua,
  memory(database, _keys, [channel, message]) {
    database.publish(String(channel), String(message))
    return 1
  },
})

/** Replies with the time to live of a session in ms; -2 if it is absent. */
export const sessionTimeToLive: Operation<number> = operation({
  name: 'session.timeToLive',
  command: 'PTTL',
  memory(database, [session], _args, now) {
    const stored = database.get<StoredText>(session!)
    return stored ? stored.expiresAt - now : -2
  },
})
