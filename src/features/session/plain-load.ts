import { operation, type Operation, type OperationReply } from '../../store/store.ts'
import type { Kept } from './members.ts'
import lua from './plain-load.lua'

/** Reads a value in connect-redis's form, and how long it lasts. Keys and reply: see plain-load.lua. */
export const plainLoad: Operation<OperationReply[]> = operation<OperationReply[]>({
  name: 'session.plainLoad',
  lua,
  memory(database, [session], _args, now) {
    const kept = database.get<Kept>(session!)
    return kept ? [kept.blob, kept.until - now] : []
  },
})

/** Renews the time to live of a value in connect-redis's form. Argument: ms. Replies 1, or 0 if it is not there. */
export const plainTouch: Operation<number> = operation({
  name: 'session.plainTouch',
  command: 'PEXPIRE',
  memory(database, [session], [ttl], now) {
    const kept = database.get<Kept>(session!)
    if (!kept) return 0
    database.set(session!, { ...kept, until: now + Number(ttl) } satisfies Kept, Number(ttl))
    return 1
  },
})

/** Removes a value in connect-redis's form. Replies 1, or 0 if it was not there. */
export const plainDestroy: Operation<number> = operation({
  name: 'session.plainDestroy',
  refuseLate: true,
  command: 'UNLINK',
  memory: (database, [session]) => (database.delete(session!) ? 1 : 0),
})
