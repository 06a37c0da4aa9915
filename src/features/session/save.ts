import { operation, type Operation, type OperationReply } from '../../store/store.ts'
import { barOf, enter, leave, ordered, type Kept } from './members.ts'
import { FIRST_VERSION, headed, headerOf, versionAfter } from './record.ts'
import lua from './save.lua'

const MOST_SWEPT = 100

/**
 * Stores a new session, or the next version of one that is there: compare-and-set, and an update
 * never creates. Keys, arguments and reply: see save.lua.
 */
export const save: Operation<OperationReply[]> = operation<OperationReply[]>({
  name: 'session.save',
  refuseLate: true,
  lua,
  memory(database, keys, args, now) {
    const [session, index, bar] = keys as [string, string, string]
    const [base, ttl, absolute, kind, payload, member, most, overflow, replaced] = args.map(
      String,
    ) as [string, string, string, string, string, string, string, string, string]
    const isOwned = kind[1] === 'u'
    const kept = database.get<Kept>(session)
    const header = kept && headerOf(kept.blob)
    const barred = isOwned ? barOf(database, bar) : { at: -1, exempt: '' }
    const end = (): OperationReply[] => {
      database.delete(session)
      leave(database, index, [member], now)
      return ['gone']
    }

    let version = FIRST_VERSION
    let created = Math.max(now, barred.at + 1)
    let until = Number(absolute) > 0 ? created + Number(absolute) : 0
    if (base === '') {
      if (replaced !== '') {
        created = Number(replaced.slice(0, 13))
        until = Number(replaced.slice(13))
        if (created <= barred.at) return ['gone']
      }
    } else {
      if (!header) return ['gone']
      ;({ created, until } = header)
      if (isOwned && created <= barred.at && barred.exempt !== member) return end()
      if (header.version !== base) return ['conflict', kept.blob]
      version = versionAfter(base)
    }

    const life = until > 0 ? Math.min(Number(ttl), until - now) : Number(ttl)
    if (life <= 0) return end()

    if (isOwned) {
      const living = ordered(database, index).filter(([, score]) => score > now)
      if (base === '' && Number(most) > 0 && living.length >= Number(most)) {
        if (overflow === 'deny') return ['full']
        const folder = session.slice(0, -member.length)
        const first = living.slice(0, living.length - Number(most) + 1).map(([each]) => each)
        for (const each of first) database.delete(folder + each)
        leave(database, index, first, now)
      }
      const dead = ordered(database, index).filter(([, score]) => score <= now)
      leave(
        database,
        index,
        dead.slice(0, MOST_SWEPT).map(([each]) => each),
        now,
      )
      enter(database, index, member, life, now)
    }
    database.set(
      session,
      {
        blob: headed(kind, version, created, until, now) + payload,
        until: now + life,
      } satisfies Kept,
      life,
    )
    return ['saved', version, created, until, now]
  },
})
