import { operation, type Operation } from '../../../store/store.ts'
import { removeFromIndex } from './user-index.ts'
import lua from './destroy.lua'

/** Ends a session. See destroy.lua. */
export const destroySession: Operation<number> = operation({
  name: 'session.destroy',
  lua,
  memory(database, [session, index], [digest], now) {
    removeFromIndex(database, index!, [String(digest)], now)
    return database.delete(session!) ? 1 : 0
  },
})
