import { operation, type Operation, type OperationReply } from '../../store/store.ts'
import { ordered } from './members.ts'
import lua from './page.lua'

/** A page of a user's living sessions. Keys, arguments and reply: see page.lua. */
export const page: Operation<OperationReply[]> = operation<OperationReply[]>({
  name: 'session.page',
  lua,
  memory(database, [index], [first, count], now) {
    const living = ordered(database, index!).filter(([, score]) => score > now)
    const some = living.slice(Number(first), Number(first) + Number(count))
    return [living.length, ...some.flatMap(([member, score]) => [member, String(score)])]
  },
})
