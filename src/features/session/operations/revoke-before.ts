import { operation, type Operation } from '../../../store/store.ts'
import { publishChange, revokeBeforeOf, timeToLive } from './user-index.ts'
import lua from './revoke-before.lua'

/** Revokes all sessions that a user has now, with at most one exception. See revoke-before.lua. */
export const revokeBefore: Operation<number> = operation({
  name: 'session.revokeBefore',
  lua,
  memory(database, [key, index], [exempt, minLife, channel], now) {
    const at = Math.max(now, revokeBeforeOf(database, key!).at)
    const life = Math.max(Number(minLife), timeToLive(database, index!, now))
    database.set(key!, exempt === '' ? String(at) : `${at} ${String(exempt)}`, life)
    publishChange(database, channel, index!)
    return at
  },
})
