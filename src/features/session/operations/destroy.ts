import { operation, type Operation } from '../../../store/store.ts'
import { publishChange, removeFromIndex } from './user-index.ts'
import lua from './destroy.lua'

/** Ends a session. See destroy.lua. */
export const destroySession: Operation<number> = operation({
  name: 'session.destroy',
  lua,
  memory(database, [session, index], [digest, channel], now) {
    removeFromIndex(database, index!, [String(digest)], now)
    const count = database.delete(session!) ? 1 : 0
    publishChange(database, channel, session!)
    return count
  },
})
