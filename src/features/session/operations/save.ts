import { operation, type Operation, type OperationReply } from '../../../store/store.ts'
import { FIRST_VERSION, formatHeader, nextVersion, parseHeader } from '../record.ts'
import {
  addToIndex,
  entriesOf,
  publishChange,
  removeFromIndex,
  revokeBeforeOf,
  type StoredText,
} from './user-index.ts'
import lua from './save.lua'

/** Number of expired entries that one save removes from the index. */
const MAX_PRUNED = 100

/**
 * Stores a new session, or the next version of an existing one by compare-and-set. An update never
 * creates a session. See save.lua.
 */
export const saveSession: Operation<OperationReply[]> = operation<OperationReply[]>({
  name: 'session.save',
  lua,
  memory(database, keys, args, now) {
    const [session, index, revokeBefore] = keys as [string, string, string]
    const [base, ttl, absolute, kind, payload, digest, limit, overflow, times, replaced, channel] =
      args.map(String) as [
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
      ]
    const isOwned = kind[1] === 'u'
    const stored = database.get<StoredText>(session)
    const header = stored && parseHeader(stored.text)
    const revoked = isOwned ? revokeBeforeOf(database, revokeBefore) : { at: -1, exempt: '' }
    const publish = (key: string): void => publishChange(database, channel, key)
    if (stored) publish(session)
    const remove = (): OperationReply[] => {
      database.delete(session)
      removeFromIndex(database, index, [digest], now)
      return ['gone']
    }

    let version = FIRST_VERSION
    let created = Math.max(now, revoked.at + 1)
    let endsAt = Number(absolute) > 0 ? created + Number(absolute) : 0
    if (base === '') {
      if (times !== '') {
        created = Number(times.slice(0, 13))
        endsAt = Number(times.slice(13))
        if (created <= revoked.at) return ['gone']
      }
    } else {
      if (!header || header.isReplaced) return ['gone']
      ;({ created, endsAt } = header)
      if (isOwned && created <= revoked.at && revoked.exempt !== digest) return remove()
      if (header.version !== base) return ['conflict', stored.text]
      version = nextVersion(base)
    }

    const life = endsAt > 0 ? Math.min(Number(ttl), endsAt - now) : Number(ttl)
    if (life <= 0) return remove()

    if (isOwned) {
      const prefix = session.slice(0, -digest.length)
      const others = entriesOf(database, index).filter(
        ([each, score]) => score > now && each !== replaced,
      )
      const isFull = base === '' && Number(limit) > 0 && others.length >= Number(limit)
      if (isFull && overflow === 'deny') return ['full']
      const excess = isFull ? others.length - Number(limit) + 1 : 0
      const ended = others.slice(0, excess).map(([each]) => each)
      if (replaced !== '') ended.push(replaced)
      for (const each of ended) {
        database.delete(prefix + each)
        publish(prefix + each)
      }
      removeFromIndex(database, index, ended, now)
      const expired = entriesOf(database, index).filter(([, score]) => score <= now)
      const pruned = expired.slice(0, MAX_PRUNED).map(([each]) => each)
      removeFromIndex(database, index, pruned, now)
      addToIndex(database, index, digest, life, now)
    }
    const text = formatHeader(kind, version, created, endsAt, now) + payload
    database.set(session, { text, expiresAt: now + life } satisfies StoredText, life)
    return ['saved', version, created, endsAt, now]
  },
})
