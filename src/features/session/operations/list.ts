import { operation, type Operation, type OperationReply } from '../../../store/store.ts'
import { entriesOf } from './user-index.ts'
import lua from './list.lua'

/** Lists part of a user's sessions. See list.lua. */
export const listSessions: Operation<OperationReply[]> = operation<OperationReply[]>({
  name: 'session.list',
  lua,
  memory(database, [index], [offset, count], now) {
    const living = entriesOf(database, index!).filter(([, score]) => score > now)
    const page = living.slice(Number(offset), Number(offset) + Number(count))
    return [living.length, ...page.flatMap(([digest, score]) => [digest, String(score)])]
  },
})
