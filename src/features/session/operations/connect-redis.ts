/** Operations on values that connect-redis wrote, or could have written. */
import { createHash } from 'node:crypto'
import { operation, type Operation, type OperationReply } from '../../../store/store.ts'
import loadLua from './connect-redis-load.lua'
import removeLua from './connect-redis-remove.lua'
import saveLua from './connect-redis-save.lua'
import type { StoredText } from './user-index.ts'

/** Returns the SHA-1 of a value in hex, as `redis.sha1hex` does. */
export const sha1 = (text: string): string => createHash('sha1').update(text).digest('hex')

/** Reads a value and its time to live. See connect-redis-load.lua. */
export const connectRedisLoad: Operation<OperationReply[]> = operation<OperationReply[]>({
  name: 'session.connectRedisLoad',
  lua: loadLua,
  memory(database, [session], _args, now) {
    const stored = database.get<StoredText>(session!)
    return stored ? [stored.text, stored.expiresAt - now] : []
  },
})

/** Stores a value if it is still the one that the update is based on. See connect-redis-save.lua. */
export const connectRedisSave: Operation<OperationReply[]> = operation<OperationReply[]>({
  name: 'session.connectRedisSave',
  lua: saveLua,
  memory(database, [session], [base, ttl, value], now) {
    if (base !== '') {
      const stored = database.get<StoredText>(session!)
      if (!stored) return ['gone']
      if (sha1(stored.text) !== base) return ['conflict', stored.text]
    }
    const next: StoredText = { text: String(value), expiresAt: now + Number(ttl) }
    database.set(session!, next, Number(ttl))
    return ['saved']
  },
})

/** Renews a value's time to live. The argument is in ms. Replies 1, or 0 if the key is absent. */
export const connectRedisTouch: Operation<number> = operation({
  name: 'session.connectRedisTouch',
  command: 'PEXPIRE',
  memory(database, [session], [ttl], now) {
    const stored = database.get<StoredText>(session!)
    if (!stored) return 0
    const next: StoredText = { ...stored, expiresAt: now + Number(ttl) }
    database.set(session!, next, Number(ttl))
    return 1
  },
})

/** Deletes a value. Replies 1, or 0 if the key is absent. */
export const connectRedisDestroy: Operation<number> = operation({
  name: 'session.connectRedisDestroy',
  command: 'UNLINK',
  memory: (database, [session]) => (database.delete(session!) ? 1 : 0),
})

/** Deletes a value if it is still the one that was read. See connect-redis-remove.lua. */
export const connectRedisRemove: Operation<OperationReply[]> = operation<OperationReply[]>({
  name: 'session.connectRedisRemove',
  lua: removeLua,
  memory(database, [session], [base]) {
    const stored = database.get<StoredText>(session!)
    if (!stored) return ['gone']
    if (sha1(stored.text) !== base) return ['conflict', stored.text]
    database.delete(session!)
    return ['removed']
  },
})
